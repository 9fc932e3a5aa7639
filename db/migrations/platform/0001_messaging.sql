-- Run once in the schema of each module, as the owner, with search_path set to that schema.

-- Messages that wait for the relay. A row is inserted while the aggregate's row is locked, so within one key the order
-- of ids is the order of the changes.
create table outbox (
  id bigint generated always as identity,
  shard smallint not null,
  message_id uuid not null,
  topic text not null,
  key text not null,
  type text not null,
  source text not null,
  subject text not null,
  sequence bigint,
  occurred_at text not null,
  correlation_id text not null,
  causation_id text not null,
  traceparent text,
  value text not null,
  constraint outbox_pkey primary key (id)
);

-- Rows come and go: vacuum by the number of dead rows, not by a share of a table that is usually empty.
alter table outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Which process relays which shard of the keys. The epoch rises with every change of owner.
create table relay_leases (
  shard smallint not null,
  owner uuid,
  epoch bigint not null default 0,
  expires_at timestamptz not null default '-infinity',
  constraint relay_leases_pkey primary key (shard)
) with (fillfactor = 50);

insert into relay_leases (shard) select generate_series(0, 11);

-- The relaying processes that are alive, so that each takes its share of the shards.
create table relay_members (
  owner uuid not null,
  seen_at timestamptz not null,
  constraint relay_members_pkey primary key (owner)
);

-- Which message each consumer has handled.
create table inbox (
  consumer text not null,
  message_id uuid not null,
  received_at timestamptz not null default now(),
  constraint inbox_pkey primary key (consumer, message_id)
);

-- Messages that a consumer could not handle, kept whole until an operator redrives or skips them.
create table dead_letters (
  id uuid not null,
  consumer text not null,
  topic text not null,
  key text not null,
  message_id uuid,
  type text,
  headers json not null,
  value bytea not null,
  code text not null,
  error text not null,
  attempts integer not null,
  status text not null default 'parked',
  parked_at timestamptz not null default now(),
  resolved_at timestamptz,
  resolved_by text,
  position text not null,
  constraint dead_letters_pkey primary key (id),
  constraint dead_letters_position_key unique (consumer, position),
  constraint dead_letters_status_check check (status in ('parked', 'redriven', 'skipped'))
);

create index dead_letters_parked_idx on dead_letters (parked_at) where status = 'parked';
