-- Work that falls due: deadlines, retries, calls to the outside. Claimed by pushing due_at forward and raising attempts.
create table timers (
  kind text not null,
  key text not null,
  due_at timestamptz not null,
  attempts integer not null default 0,
  data json not null,
  correlation_id text not null,
  causation_id text not null,
  traceparent text,
  constraint timers_pkey primary key (kind, key)
);

create index timers_due_at_idx on timers (due_at);

alter table timers set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- The first answer to each Idempotency-Key, committed together with its effect.
create table idempotency_keys (
  user_id uuid not null,
  route text not null,
  key text not null,
  request_hash text not null,
  status integer not null,
  body text not null,
  location text,
  consistency text not null,
  created_at timestamptz not null default now(),
  constraint idempotency_keys_pkey primary key (user_id, route, key)
);
