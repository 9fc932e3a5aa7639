import { StartError } from './errors.ts'
import type { Postgres } from './postgres.ts'

const findings = `
  with own as (select oid, nspname from pg_namespace where nspname = $1),
  others as (
    select oid, nspname from pg_namespace
    where nspname <> $1 and nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and nspname not like 'pg_temp%'
      and nspname not like 'pg_toast_temp%'
  )
  select format('the connection signs in as %s', current_user) as finding where current_user <> $1
  union all
  select 'the role is a superuser' from pg_roles where rolname = current_user and (rolsuper or rolbypassrls or rolcreaterole)
  union all
  select format('the role is a member of %s', rolname) from pg_roles
    where rolname <> current_user and pg_has_role(current_user, oid, 'member')
  union all
  select format('the role may create in the database %s, or temporary tables', current_database())
    where has_database_privilege(current_user, current_database(), 'create, temporary')
  union all
  select format('the role may create objects in the schema %s', nspname) from pg_namespace
    where nspname not like 'pg_temp%' and has_schema_privilege(current_user, oid, 'create')
  union all
  select format('the role may use the schema %s', nspname) from others where has_schema_privilege(current_user, oid, 'usage')
  union all
  select format('the role has rights on the table %s.%s', nspname, relname)
    from pg_class join others on others.oid = relnamespace
    where relkind in ('r', 'p', 'v', 'm', 'f')
      and (has_table_privilege(current_user, pg_class.oid, 'select, insert, update, delete, truncate, references, trigger')
        or has_any_column_privilege(current_user, pg_class.oid, 'select, insert, update, references'))
  union all
  select format('the role may call the function %s.%s, granted to it', nspname, proname)
    from pg_proc join others on others.oid = pronamespace
    where exists (select from aclexplode(proacl) where grantee = (select oid from pg_roles where rolname = current_user))
  union all
  select format('the role owns %s.%s', nspname, relname)
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relowner = (select oid from pg_roles where rolname = current_user)
  union all
  select format('the role %s has rights on the table %s.%s', pg_get_userbyid(grantee), nspname, relname)
    from pg_class join own on own.oid = relnamespace
    cross join (
      select oid as relation, relacl as acl from pg_class union all select attrelid, attacl from pg_attribute
    ) as granted cross join aclexplode(acl)
    where granted.relation = pg_class.oid and grantee <> relowner and grantee is distinct from (select oid from pg_roles where rolname = $1)
  union all
  select format('the foreign key %s on %s references %s', conname, conrelid::regclass, confrelid::regclass)
    from pg_constraint
    join pg_class source on source.oid = conrelid join pg_class target on target.oid = confrelid
    where contype = 'f' and source.relnamespace <> target.relnamespace
      and (select oid from own) in (source.relnamespace, target.relnamespace)
  union all
  select format('the table %s.%s inherits from %s.%s', child_schema.nspname, child.relname, parent_schema.nspname, parent.relname)
    from pg_inherits
    join pg_class child on child.oid = inhrelid join pg_namespace child_schema on child_schema.oid = child.relnamespace
    join pg_class parent on parent.oid = inhparent join pg_namespace parent_schema on parent_schema.oid = parent.relnamespace
    where child_schema.oid <> parent_schema.oid and (select oid from own) in (child_schema.oid, parent_schema.oid)
  union all
  select distinct format('the view %s reads %s', view.oid::regclass, used.oid::regclass)
    from pg_rewrite join pg_class view on view.oid = ev_class
    join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid and refclassid = 'pg_class'::regclass
    join pg_class used on used.oid = refobjid
    where view.relnamespace <> used.relnamespace and (select oid from own) in (view.relnamespace, used.relnamespace)
      and 'pg_catalog'::regnamespace not in (view.relnamespace, used.relnamespace)
      and 'information_schema'::regnamespace not in (view.relnamespace, used.relnamespace)
  union all
  select format('the function %s.%s mentions the schema %s', owner.nspname, proname, mentioned.nspname)
    from pg_proc join pg_namespace owner on owner.oid = pronamespace
    join pg_namespace mentioned on mentioned.oid <> owner.oid
    where (owner.nspname = $1 or mentioned.nspname = $1)
      and owner.nspname not in ('pg_catalog', 'information_schema')
      and mentioned.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
      and (coalesce(pg_get_function_sqlbody(pg_proc.oid), prosrc) ~* format('\\m"?%s"?\\s*\\.', mentioned.nspname)
        or array_to_string(proconfig, ' ') ~* format('search_path=.*\\m%s\\M', mentioned.nspname))
  union all
  select format('the trigger %s on %s calls a function of another schema', tgname, tgrelid::regclass)
    from pg_trigger join pg_class on pg_class.oid = tgrelid join pg_proc on pg_proc.oid = tgfoid
    where not tgisinternal and relnamespace <> pronamespace and (select oid from own) in (relnamespace, pronamespace)`

/** What in the database's catalogue lets this module out of its schema, or another role in; empty when it is sealed. */
export const isolationFindings = async (module: string, postgres: Pick<Postgres, 'run'>): Promise<string[]> => {
  const rows = await postgres.run(findings, [module])
  return rows.map((row) => String(row['finding']))
}

/** @throws StartError listing every way in which the module's schema is not sealed. */
export const checkIsolation = async (module: string, postgres: Pick<Postgres, 'run'>): Promise<void> => {
  const found = await isolationFindings(module, postgres)
  if (found.length > 0) {
    throw new StartError(
      `The schema ${module} is not sealed: ${found.join('; ')}. Revoke or drop it, then run "bun run migrate".`,
    )
  }
}
