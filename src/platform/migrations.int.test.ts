import { afterEach, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { testDatabase } from '../test/database.ts'
import { messageThrownBy, thrownBy } from '../test/thrown.ts'
import { StartError, UnavailableError } from './errors.ts'
import { checkSchemaVersion, migrateModule, migrationsOf } from './migrations.ts'
import { type Postgres, openPostgres } from './postgres.ts'

setDefaultTimeout(60_000)

let database: Awaited<ReturnType<typeof testDatabase>>
let owner: Postgres
let module: Postgres

beforeEach(async () => {
  database = await testDatabase()
  owner = openPostgres({ url: database.ownerUrl, name: 'test-owner', poolSize: 2 })
  module = openPostgres({ url: database.moduleUrl('users'), name: 'test-module', poolSize: 2 })
})

afterEach(async () => {
  await Promise.all([owner.close(1_000), module.close(1_000)])
  await database.drop()
})

const migrate = async () => {
  const applied: string[] = []
  const { ownerUrl, moduleUrl } = database
  await migrateModule({
    module: 'users',
    ownerUrl,
    moduleUrl: moduleUrl('users'),
    report: (line) => applied.push(line),
  })
  return applied
}

const names = async () => (await migrationsOf('users')).map(({ name }) => `users: ${name}`)

test('a migration applies every file once, in order, and a second one nothing', async () => {
  expect(await migrate()).toEqual(await names())
  expect(await migrate()).toEqual([])
  await checkSchemaVersion('users', module)
})

test('migrations that run at once apply every file once between them', async () => {
  const applied = await Promise.all([migrate(), migrate(), migrate()])
  expect(applied.flat()).toEqual(await names())
  await checkSchemaVersion('users', module)
})

test('migrations of several modules at once do not disturb each other', async () => {
  const modules = ['users', 'orders', 'payments']
  const { ownerUrl, moduleUrl } = database
  await Promise.all(
    [...modules, ...modules].map((name) =>
      migrateModule({ module: name, ownerUrl, moduleUrl: moduleUrl(name), report: () => undefined }),
    ),
  )
  const rows = await owner.run(`select schemaname from pg_tables where tablename = 'outbox' order by schemaname`)
  expect(rows.map((row) => row['schemaname'])).toEqual(modules.toSorted())
})

test('a file that was changed after it was applied is refused by name, and nothing is applied', async () => {
  await migrate()
  await owner.script(`update users.schema_migrations set checksum = 'other' where name = 'platform/0001_messaging.sql'`)
  expect(await messageThrownBy(migrate())).toContain(
    'platform/0001_messaging.sql was applied to users and changed afterwards',
  )
  expect(await thrownBy(checkSchemaVersion('users', module))).toBeInstanceOf(StartError)
})

test('a schema that was never migrated is refused, and so is one that is older than this release', async () => {
  const { ownerUrl, moduleUrl } = database
  expect(await messageThrownBy(checkSchemaVersion('users', owner))).toContain('run "bun run migrate" first')
  await migrateModule({ module: 'users', ownerUrl, moduleUrl: moduleUrl('users'), report: () => undefined })
  await owner.script(`delete from users.schema_migrations where name like 'users/%'`)
  expect(await messageThrownBy(checkSchemaVersion('users', module))).toMatch(
    /lacks users\/0001_.*run "bun run migrate" first/,
  )
})

test('a schema that is newer than this release is refused', async () => {
  await migrate()
  await owner.script(`insert into users.schema_migrations (name, checksum) values ('users/9999_later.sql', 'x')`)
  expect(await messageThrownBy(checkSchemaVersion('users', module))).toContain('users/9999_later.sql')
})

test('a file that fails leaves nothing of itself, and says which it was', async () => {
  await migrate()
  await owner.script(`drop table users.sign_outs; delete from users.schema_migrations where name like 'users/%'`)
  expect(await messageThrownBy(migrate())).toMatch(/users\/0001_\w+\.sql failed in users/)
  expect(await owner.run(`select from pg_tables where schemaname = 'users' and tablename = 'sign_outs'`)).toEqual([])
  expect(await owner.run(`select from users.schema_migrations where name like 'users/%'`)).toEqual([])
})

test('the address of another role is refused before anything is touched', async () => {
  const { ownerUrl, moduleUrl } = database
  const wrong = migrateModule({ module: 'users', ownerUrl, moduleUrl: moduleUrl('orders'), report: () => undefined })
  expect(await messageThrownBy(wrong)).toContain('must sign in as the role users')
  expect(await owner.run(`select from pg_namespace where nspname = 'users'`)).toEqual([])
})

test('a database that is away is no wrong schema: the check may be repeated', async () => {
  const away = { run: () => Promise.reject(new UnavailableError('The database is away.')) }
  expect(await thrownBy(checkSchemaVersion('users', away))).toBeInstanceOf(UnavailableError)
})
