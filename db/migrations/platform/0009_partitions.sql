-- Which consumer has which partition in hand. A row is deleted by its owner, so one that another finds is a dead process's.
create table inbox_partitions (
  consumer text not null,
  partition integer not null,
  owner uuid not null,
  -- The id of the message that was begun last of those which are handled alone.
  begun text,
  -- By how many processes one after the other.
  times integer not null default 0,
  constraint inbox_partitions_pkey primary key (consumer, partition)
) with (fillfactor = 50);
