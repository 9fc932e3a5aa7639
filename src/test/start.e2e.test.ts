import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { parseMigrateConfig } from '../config.ts'
import { migrate } from '../../scripts/migrate.ts'
import { inDatabase } from '../../scripts/services/postgres-url.ts'
import { createDatabase, dropDatabase, withDatabase } from '../../scripts/services/test-database.ts'
import { openPostgres } from '#platform/postgres'
import { testEnvironment } from './app.ts'
import { runProcess } from './process.ts'

setDefaultTimeout(60_000)

const shared = await testEnvironment()
const serverUrl = shared['DATABASE_URL'] ?? ''
const name = `start_${process.pid}`
await createDatabase(serverUrl, name)
const environment = withDatabase(shared, name)
await migrate(parseMigrateConfig(environment), () => undefined)
const owner = openPostgres({ url: inDatabase(serverUrl, name), name: 'test', poolSize: 2 })

afterAll(async () => {
  await owner.close()
  await dropDatabase(serverUrl, name)
})

/** The one line that the start is refused with, before anything was served. */
const refusal = async (overrides: Record<string, string | undefined> = {}): Promise<string> => {
  const { code, log, errors } = await runProcess({ ...environment, LOG_LEVEL: 'error', ...overrides }).ended()
  expect({ code, log, errors }).toEqual({ code: 1, log: [], errors: [expect.any(String)] })
  return errors[0] ?? ''
}

describe('the process refuses to start, with one line and no stack,', () => {
  test('in production with a secret that anybody can guess', async () => {
    const line = await refusal({ NODE_ENV: 'production', JWT_KEYS: `k:${'x'.repeat(40)}` })
    expect(line).toContain('JWT_KEYS is wrong: the secret of k has fewer than 8 different characters')
  })

  test('without a variable', async () => {
    expect(await refusal({ JWT_KEYS: undefined })).toBe('The environment does not fit: JWT_KEYS is not set.')
  })

  test('with modules that there are not', async () => {
    for (const MODULES of ['carts', '', 'users,users'])
      expect(await refusal({ MODULES })).toStartWith('The environment does not fit: MODULES is wrong: must ')
  })

  test('on a schema that was not migrated', async () => {
    const empty = `${name}_empty`
    await createDatabase(serverUrl, empty)
    const line = await refusal(withDatabase(shared, empty))
    await dropDatabase(serverUrl, empty)
    expect(line).toMatch(/^The schema \w+ is not there or not readable .*: run "bun run migrate" first\.$/)
  })

  test('with the role of another module, or the owner', async () => {
    for (const url of [environment['ORDERS_DATABASE_URL'], environment['DATABASE_URL']])
      expect(await refusal({ USERS_DATABASE_URL: url })).toContain(
        'USERS_DATABASE_URL is wrong: must sign in as the role users',
      )
  })

  test('with a password that is not the role’s', async () => {
    const url = new URL(environment['USERS_DATABASE_URL'] ?? '')
    url.password = 'wrong'
    expect(await refusal({ USERS_DATABASE_URL: url.href })).toContain('The schema users is not there or not readable')
  })

  const breaches: Record<string, [string, string, string]> = {
    'on a schema that is newer': [
      `insert into users.schema_migrations (name, checksum) values ('users/9999_later.sql', 'x')`,
      `delete from users.schema_migrations where name = 'users/9999_later.sql'`,
      'The schema users has users/9999_later.sql, which this release does not know',
    ],
    'on a schema that is older': [
      `update payments.schema_migrations set name = 'hidden' where name = 'platform/0001_messaging.sql'`,
      `update payments.schema_migrations set name = 'platform/0001_messaging.sql' where name = 'hidden'`,
      'The schema payments lacks platform/0001_messaging.sql',
    ],
    'on a migration that was changed': [
      `update orders.schema_migrations set checksum = 'x' || checksum where name = 'platform/0001_messaging.sql'`,
      `update orders.schema_migrations set checksum = substr(checksum, 2) where name = 'platform/0001_messaging.sql'`,
      'The schema orders has platform/0001_messaging.sql, which this release does not know',
    ],
    'on a right in another module’s schema': [
      'grant usage on schema orders to users',
      'revoke usage on schema orders from users',
      'The schema users is not sealed',
    ],
    'on a foreign key into another module’s schema': [
      `create table orders.theirs (id uuid constraint theirs_users_fkey references users.users)`,
      'drop table orders.theirs',
      'theirs_users_fkey',
    ],
  }
  for (const [when, [breach, mend, line]] of Object.entries(breaches)) {
    test(when, async () => {
      await owner.run(breach)
      try {
        expect(await refusal()).toContain(line)
      } finally {
        await owner.run(mend)
      }
    })
  }

  test('when its port is taken', async () => {
    const { port } = new URL(serverUrl)
    expect(await refusal({ PORT: port })).toContain(`PORT ${port} cannot be served on 127.0.0.1`)
  })

  test('when a Postgres does not answer', async () => {
    const url = new URL(environment['ORDERS_DATABASE_URL'] ?? '')
    url.port = '1'
    expect(await refusal({ ORDERS_DATABASE_URL: url.href })).toStartWith('The Postgres of orders does not answer')
  })
})
