-- One login role and one schema for a module. Run by migrate as the owner, with the settings bulkhead.module and
-- bulkhead.password. The role reads and writes rows in its own schema and can do nothing anywhere else.
do $$
declare
  module text := current_setting('bulkhead.module');
  password text := current_setting('bulkhead.password');
begin
  if not exists (select from pg_roles where rolname = module) then
    execute format('create role %I', module);
  end if;
  execute format('alter role %I with login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password %L', module, password);
  execute format('alter role %I in database %I set search_path = %I', module, current_database(), module);
  execute format('alter role %I in database %I set lock_timeout = %L', module, current_database(), '3s');
  execute format('alter role %I in database %I set statement_timeout = %L', module, current_database(), '15s');
  execute format('alter role %I in database %I set idle_in_transaction_session_timeout = %L', module, current_database(), '5s');
  -- Commands and consumers look their rows up by an index. A plan is made once a connection, often while the table is empty, and
  -- would otherwise read the whole table, and go on doing so when it has grown.
  execute format('alter role %I in database %I set enable_seqscan = off', module, current_database());
  execute format('alter role %I in database %I set enable_bitmapscan = off', module, current_database());
  execute format('alter role %I in database %I set enable_hashjoin = off', module, current_database());
  execute format('alter role %I in database %I set enable_mergejoin = off', module, current_database());

  execute format('revoke all on database %I from public', current_database());
  execute format('grant connect on database %I to %I', current_database(), module);
  revoke all on schema public from public;

  execute format('create schema if not exists %I', module);
  execute format('revoke all on schema %I from public', module);
  execute format('grant usage on schema %I to %I', module, module);
  execute format('alter default privileges in schema %I revoke all on functions from public', module);
  execute format('alter default privileges in schema %I grant select, insert, update, delete on tables to %I', module, module);
  execute format('alter default privileges in schema %I grant usage on sequences to %I', module, module);

  execute format(
    'create table if not exists %I.schema_migrations (
       name text constraint schema_migrations_pkey primary key,
       checksum text not null,
       applied_at timestamptz not null default now())', module);
  execute format('revoke insert, update, delete on %I.schema_migrations from %I', module, module);
end
$$;
