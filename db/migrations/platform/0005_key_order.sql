-- How far each consumer has come with each key: the sequence of its last message, and whether messages of the key are held.
create table inbox_keys (
  consumer text not null,
  key text not null,
  sequence bigint not null default 0,
  blocked boolean not null default false,
  constraint inbox_keys_pkey primary key (consumer, key)
) with (fillfactor = 80);

-- Since when each consumer has been there: keys that are older may begin with any sequence.
create table inbox_consumers (
  consumer text not null,
  joined_at timestamptz not null default now(),
  constraint inbox_consumers_pkey primary key (consumer)
);

-- A held message waits for its turn: the first of its key is parked, or waits for one that is missing before it; the others
-- are queued behind, in the order of their places.
alter table dead_letters
  add column sequence bigint,
  add column place bigint generated always as identity,
  drop constraint dead_letters_status_check,
  add constraint dead_letters_status_check check (status in ('parked', 'waiting', 'queued', 'redriven', 'skipped'));

drop index dead_letters_parked_idx;
create index dead_letters_held_idx on dead_letters (consumer, key, place) where status in ('parked', 'waiting', 'queued');
