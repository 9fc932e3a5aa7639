-- Ids that do not begin with their time, from senders that make them otherwise, are found by when they came.
create index inbox_foreign_ids_idx on inbox (received_at) where substr(message_id::text, 15, 1) <> '7';

-- What was pruned is vacuumed before the next rounds have to pass over it, however large the table is.
alter table inbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000);
