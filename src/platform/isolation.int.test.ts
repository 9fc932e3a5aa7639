import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { testEnvironment } from '../test/app.ts'
import { testDatabase } from '../test/database.ts'
import { thrownBy } from '../test/thrown.ts'
import { StartError } from './errors.ts'
import { checkIsolation, isolationFindings } from './isolation.ts'
import { type Postgres, openPostgres } from './postgres.ts'

setDefaultTimeout(60_000)

// Roles belong to the whole server, so the breaches are planted on roles of this file, in a database of its own.
const tag = Bun.randomUUIDv7().slice(-12)
const [inside, outside, stranger] = [`inside_${tag}`, `outside_${tag}`, `stranger_${tag}`]

let database: Awaited<ReturnType<typeof testDatabase>>
let owner: Postgres
let module: Postgres

beforeAll(async () => {
  database = await testDatabase()
  owner = openPostgres({ url: database.ownerUrl, name: 'test-owner', poolSize: 1 })
  const roles = await Bun.file(join(import.meta.dir, '../../db/roles.sql')).text()
  for (const name of [inside, outside]) {
    await owner.script(
      `begin; set local bulkhead.module = '${name}'; set local bulkhead.password = 'secret'; ${roles}; commit`,
    )
    await owner.script(
      `create table ${name}.things (id int not null, name text, constraint things_pkey primary key (id))`,
    )
  }
  await owner.script(`create role ${stranger}`)
  module = openPostgres({ url: signedInAs(inside), name: 'test-module', poolSize: 1 })
})

afterAll(async () => {
  await module.close(100)
  await owner.script(`drop owned by ${inside}, ${outside}, ${stranger} cascade`)
  await owner.close(1_000)
  await database.drop()
  const server = openPostgres({ url: database.services.DATABASE_URL, name: 'test-owner', poolSize: 1 })
  await server.script(`drop role ${inside}; drop role ${outside}; drop role ${stranger}`)
  await server.close()
})

const signedInAs = (role: string) => {
  const url = new URL(database.ownerUrl)
  url.username = role
  url.password = 'secret'
  return url.href
}

type Breach = { what: string; plant: string; mend: string; finding: string }

const breaches: Breach[] = [
  {
    what: 'the use of another schema',
    plant: `grant usage on schema ${outside} to ${inside}`,
    mend: `revoke usage on schema ${outside} from ${inside}`,
    finding: `may use the schema ${outside}`,
  },
  {
    what: 'the use of public',
    plant: 'grant usage on schema public to public',
    mend: 'revoke usage on schema public from public',
    finding: 'may use the schema public',
  },
  {
    what: 'DDL in its own schema',
    plant: `grant create on schema ${inside} to ${inside}`,
    mend: `revoke create on schema ${inside} from ${inside}`,
    finding: `may create objects in the schema ${inside}`,
  },
  {
    what: 'rights on a table of another schema',
    plant: `grant select on ${outside}.things to ${inside}`,
    mend: `revoke select on ${outside}.things from ${inside}`,
    finding: `rights on the table ${outside}.things`,
  },
  {
    what: 'rights on one column of another schema',
    plant: `grant select (name) on ${outside}.things to ${inside}`,
    mend: `revoke select (name) on ${outside}.things from ${inside}`,
    finding: `rights on the table ${outside}.things`,
  },
  {
    what: 'a table of its own that is open to another role',
    plant: `grant select on ${inside}.things to ${stranger}`,
    mend: `revoke select on ${inside}.things from ${stranger}`,
    finding: `the role ${stranger} has rights on the table ${inside}.things`,
  },
  {
    what: 'a column of its own that is open to another role',
    plant: `grant select (name) on ${inside}.things to ${stranger}`,
    mend: `revoke select (name) on ${inside}.things from ${stranger}`,
    finding: `the role ${stranger} has rights on the table ${inside}.things`,
  },
  {
    what: 'a table of its own that is open to everybody',
    plant: `grant select on ${inside}.things to public`,
    mend: `revoke select on ${inside}.things from public`,
    finding: `rights on the table ${inside}.things`,
  },
  {
    what: 'membership in another role',
    plant: `grant ${outside} to ${inside}`,
    mend: `revoke ${outside} from ${inside}`,
    finding: `is a member of ${outside}`,
  },
  {
    what: 'a superuser',
    plant: `alter role ${inside} superuser`,
    mend: `alter role ${inside} nosuperuser`,
    finding: 'superuser',
  },
  {
    what: 'a role that may create roles',
    plant: `alter role ${inside} createrole`,
    mend: `alter role ${inside} nocreaterole`,
    finding: 'superuser',
  },
  {
    what: 'temporary tables',
    plant: `do $$ begin execute format('grant temporary on database %I to ${inside}', current_database()); end $$`,
    mend: `do $$ begin execute format('revoke temporary on database %I from ${inside}', current_database()); end $$`,
    finding: 'may create in the database',
  },
  {
    what: 'ownership of a table',
    plant: `alter table ${inside}.things owner to ${inside}`,
    mend: `alter table ${inside}.things owner to current_user; grant select, insert, update, delete on ${inside}.things to ${inside}`,
    finding: `owns ${inside}.things`,
  },
  {
    what: 'a foreign key that leaves the schema',
    plant: `alter table ${inside}.things add constraint breach foreign key (id) references ${outside}.things (id)`,
    mend: `alter table ${inside}.things drop constraint breach`,
    finding: 'the foreign key breach',
  },
  {
    what: 'a foreign key that enters the schema',
    plant: `alter table ${outside}.things add constraint breach foreign key (id) references ${inside}.things (id)`,
    mend: `alter table ${outside}.things drop constraint breach`,
    finding: 'the foreign key breach',
  },
  {
    what: 'a view over another schema',
    plant: `create view ${inside}.breach as select id from ${outside}.things`,
    mend: `drop view ${inside}.breach`,
    finding: `the view breach reads ${outside}.things`,
  },
  {
    what: 'a materialized view of another schema over its tables',
    plant: `create materialized view ${outside}.breach as select id from ${inside}.things`,
    mend: `drop materialized view ${outside}.breach`,
    finding: `the view ${outside}.breach reads things`,
  },
  {
    what: 'a table that inherits from another schema',
    plant: `create table ${inside}.breach () inherits (${outside}.things)`,
    mend: `drop table ${inside}.breach`,
    finding: `the table ${inside}.breach inherits from ${outside}.things`,
  },
  {
    what: 'a function that reads another schema',
    plant: `create function ${inside}.breach() returns bigint language sql as 'select count(*) from ${outside}.things'`,
    mend: `drop function ${inside}.breach()`,
    finding: `the function ${inside}.breach mentions the schema ${outside}`,
  },
  {
    what: 'a function with a parsed body that reads another schema',
    plant: `create function ${inside}.breach() returns bigint begin atomic select count(*) from ${outside}.things; end`,
    mend: `drop function ${inside}.breach()`,
    finding: `the function ${inside}.breach mentions the schema ${outside}`,
  },
  {
    what: 'a function whose search_path is another schema',
    plant: `create function ${inside}.breach() returns bigint language plpgsql set search_path = ${outside} as 'begin return (select count(*) from things); end'`,
    mend: `drop function ${inside}.breach()`,
    finding: `the function ${inside}.breach mentions the schema ${outside}`,
  },
  {
    what: 'a function of another schema that it was granted',
    plant: `create function ${outside}.breach() returns int language sql as 'select 1'; grant execute on function ${outside}.breach() to ${inside}`,
    mend: `drop function ${outside}.breach()`,
    finding: `may call the function ${outside}.breach`,
  },
  {
    what: 'a trigger that calls a function of another schema',
    plant: `create function ${outside}.breach() returns trigger language plpgsql as 'begin return new; end';
      create trigger breach before insert on ${inside}.things for each row execute function ${outside}.breach()`,
    mend: `drop trigger breach on ${inside}.things; drop function ${outside}.breach()`,
    finding: `the trigger breach`,
  },
]

for (const { what, plant, mend, finding } of breaches) {
  test(`the check finds ${what}, and nothing once it is mended`, async () => {
    await owner.script(plant)
    try {
      expect((await isolationFindings(inside, module)).join('\n')).toContain(finding)
      expect(await thrownBy(checkIsolation(inside, module))).toBeInstanceOf(StartError)
    } finally {
      await owner.script(mend)
    }
    expect(await isolationFindings(inside, module)).toEqual([])
  })
}

test('the check finds a connection that is not the role of the module', async () => {
  const other = openPostgres({ url: signedInAs(outside), name: 'test-module', poolSize: 1 })
  expect((await isolationFindings(inside, other)).join('\n')).toContain(`signs in as ${outside}`)
  expect((await isolationFindings(inside, owner)).join('\n')).toContain('superuser')
  await other.close(100)
})

test('Postgres refuses each module the schemas of the others, all DDL, temporary tables and public', async () => {
  const environment = await testEnvironment()
  const modules = ['users', 'orders', 'payments']
  const refused: string[] = []
  for (const name of modules) {
    const postgres = openPostgres({
      url: environment[`${name.toUpperCase()}_DATABASE_URL`] ?? '',
      name: 'test-module',
      poolSize: 1,
    })
    expect(await isolationFindings(name, postgres)).toEqual([])
    await postgres.run('select 1 from outbox limit 1')
    const statements = [
      ...modules
        .filter((other) => other !== name)
        .flatMap((other) => [
          `select * from ${other}.outbox`,
          `insert into ${other}.inbox (consumer, message_id) values ('x', '${Bun.randomUUIDv7()}')`,
          `update ${other}.relay_leases set owner = null`,
          `delete from ${other}.dead_letters`,
          `truncate ${other}.outbox`,
          `create table ${other}.breach ()`,
          `set role ${other}`,
        ]),
      `create table ${name}.breach ()`,
      `drop table ${name}.outbox`,
      `alter table ${name}.outbox add column breach int`,
      `truncate ${name}.outbox`,
      `insert into ${name}.schema_migrations (name, checksum) values ('x', 'x')`,
      'create table public.breach ()',
      'create temporary table breach ()',
      'create schema breach',
    ]
    for (const statement of statements) {
      const code = await postgres.script(statement).then(
        () => 'allowed',
        (error: { code?: string }) => error.code,
      )
      if (code !== '42501') refused.push(`${name}: ${statement}: ${code}`)
    }
    await postgres.close(1_000)
  }
  expect(refused).toEqual([])
})
