-- What is pruned by age is found by age: the other tables have ids that begin with their time.
create index idempotency_keys_created_at_idx on idempotency_keys (created_at);
