-- A message that a process died with is tried in a process of its own, so one death is enough to know.
alter table inbox_partitions drop column times;
