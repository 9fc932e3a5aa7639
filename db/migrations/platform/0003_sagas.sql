-- Orchestrations: what each has come to, and every transition that it took.
create table sagas (
  id uuid not null,
  name text not null,
  -- What the replies to its commands name it by.
  reply_key text not null,
  status text not null,
  state json not null,
  version integer not null,
  correlation_id text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint sagas_pkey primary key (id),
  constraint sagas_reply_key_key unique (name, reply_key),
  constraint sagas_status_check check (status in ('running', 'completed', 'compensating', 'compensated', 'needs-operator'))
);

create index sagas_operator_idx on sagas (id) where status = 'needs-operator';

create table saga_history (
  saga_id uuid not null,
  version integer not null,
  at timestamptz not null,
  status text not null,
  -- What it heard, in order: outcomes, timeouts, and what an operator asked for, with who it was.
  heard json not null,
  constraint saga_history_pkey primary key (saga_id, version),
  constraint saga_history_saga_fkey foreign key (saga_id) references sagas (id) on delete cascade
);
