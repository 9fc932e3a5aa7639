-- How far each kind of aggregate has been restated, and by how much the sequences are raised; a row is there only while
-- that is under way, so that whoever goes on begins where the last one ended.
create table restatements (
  thing text not null,
  after text,
  count integer not null default 0,
  raise integer not null,
  done boolean not null default false,
  constraint restatements_pkey primary key (thing),
  constraint restatements_raise_check check (raise > 0)
);
