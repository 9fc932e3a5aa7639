-- What happened in the story of one request is answered from these columns and tables. They are written by the statements
-- that emit or handle a message, end a timer or move a saga anyway, and pruned with the inbox.
alter table inbox add column correlation_id text;

-- Most correlation ids begin with their time: new ones are neighbours in the index.
create index inbox_correlation_id_idx on inbox (correlation_id) where correlation_id is not null;

-- What this module has emitted: a row of the outbox goes when the broker has it.
create table emitted_messages (
  message_id uuid not null,
  topic text not null,
  key text not null,
  type text not null,
  occurred_at text not null,
  correlation_id text not null,
  causation_id text not null,
  constraint emitted_messages_pkey primary key (message_id)
);

create index emitted_messages_correlation_id_idx on emitted_messages (correlation_id);

alter table timers add column set_at timestamptz not null default now();

-- Timers and calls that have ended, each with the messages that it emitted.
create table ended_timers (
  id uuid not null default uuidv7(),
  kind text not null,
  key text not null,
  outcome text not null,
  attempts integer not null,
  set_at timestamptz not null,
  ended_at timestamptz not null default now(),
  correlation_id text not null,
  causation_id text not null,
  emitted json not null default '[]',
  constraint ended_timers_pkey primary key (id),
  constraint ended_timers_outcome_check check (outcome in ('fired', 'cancelled'))
);

create index ended_timers_correlation_id_idx on ended_timers (correlation_id);

-- What caused a transition: the request, or the message that was heard.
alter table saga_history add column causation_id text;

create index sagas_correlation_id_idx on sagas (correlation_id);
create index sagas_open_idx on sagas (created_at) where status in ('running', 'compensating', 'needs-operator');

create index dead_letters_correlation_id_idx on dead_letters ((coalesce(headers ->> 'ce_correlationid', message_id::text)));
