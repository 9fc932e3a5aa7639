import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { openPostgres } from '#platform/postgres'
import { createApp, withAllModules } from '../../../src/app.ts'
import { type Environment, parseConfig, parseMigrateConfig } from '../../../src/config.ts'
import { startTestApp } from '../../../src/test/app.ts'
import { createClient } from '../../../src/test/client.ts'
import { testDatabase } from '../../../src/test/database.ts'
import { eventually } from '../../../src/test/eventually.ts'
import { silent } from '../../../src/test/messaging.ts'
import { ownServer } from '../../../src/test/own-server.ts'
import { openTestRedis } from '../../../src/test/redis.ts'
import { migrate } from '../../migrate.ts'
import { startProvider } from '../../sandbox-provider/server.ts'
import { broker } from '../../services/broker.ts'
import { redis } from '../../services/redis.ts'
import { examine } from '../examine.ts'

/** For tests: servers of their own with some business done, everything ended, and no process at work any more. */
export const systemAtRest = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-invariants-'))
  const ledger = join(folder, 'ledger.sqlite')
  const provider = startProvider({ hostname: '127.0.0.1', port: 0, file: ledger })
  const [database, ownBroker, ownRedis] = await Promise.all([
    testDatabase(),
    ownServer(broker, 'invariants-broker'),
    ownServer(redis, 'invariants-redis'),
  ])
  const environment: Environment = {
    ...database.environment,
    KAFKA_BROKERS: ownBroker.url,
    REDIS_URL: ownRedis.url,
    PAYMENT_PROVIDER_URL: provider.url,
    NODE_ENV: 'test',
    KAFKA_SESSION_TIMEOUT_MS: '2000',
  }
  await migrate(parseMigrateConfig(environment), () => undefined)
  const done = await doBusiness(environment)

  // As the script does: everything is wired and nothing runs.
  const app = withAllModules(createApp(parseConfig({ ...environment, LOG_LEVEL: 'silent' }), silent))
  await app.connected()
  const owner = openPostgres({ url: database.ownerUrl, name: 'test', poolSize: 2 })
  const raw = openTestRedis(environment)
  return {
    environment,
    done,
    ledger,
    sources: app,
    owner,
    redis: raw,
    /** Makes the snapshots what the tables say. */
    project: async () => {
      await raw.flushall()
      for (const { snapshots } of Object.values(app.hosted)) await snapshots.rebuild()
    },
    stop: async () => {
      await app.stop()
      raw.disconnect()
      await owner.close()
      await provider.stop()
      rmSync(folder, { recursive: true, force: true })
      await Promise.all([ownBroker.remove(), ownRedis.remove(), database.drop()])
    },
  }
}

export type SystemAtRest = Awaited<ReturnType<typeof systemAtRest>>

const order = z.object({ id: z.uuid(), status: z.string(), paymentId: z.uuid().nullable() })
const checkout = z.object({ id: z.uuid(), status: z.string(), orderId: z.uuid() })
const settlement = z.object({ id: z.uuid(), status: z.string() })

/** Every flow that there is, once or twice, each to its end. */
const doBusiness = async (environment: Environment) => {
  const app = await startTestApp(environment)
  const client = createClient(app.url)
  const { OPERATOR_EMAIL = '', OPERATOR_PASSWORD = '' } = app.environment
  const operator = { token: await client.signIn(OPERATOR_EMAIL, OPERATOR_PASSWORD) }
  const [ada, leaving] = [await client.signUp('Ada'), await client.signUp('Leaving')]

  const begin = async (path: string, body: unknown, token: string) => {
    const { status, body: begun } = await client.send('POST', path, { body, token })
    if (status !== 202) throw new Error(`${path} answered ${status}: ${JSON.stringify(begun)}`)
    return z.object({ id: z.uuid() }).parse(begun).id
  }
  const until = <Schema extends z.ZodType<{ status: string }>>(path: string, status: string, schema: Schema) =>
    eventually(async () => {
      const { body } = await client.send('GET', path, operator)
      const read = schema.parse(body)
      if (read.status !== status) throw new Error(`${path} is ${read.status}, not ${status}.`)
      return read
    }, 30_000)
  const buy = async (token: string, paymentToken: string, status: string) => {
    const id = await begin('/orders', { lines: [{ sku: 'tea', quantity: 2 }], paymentToken }, token)
    return until(`/orders/${id}`, status, order)
  }
  const check = async (paymentToken: string, status: string) => {
    const id = await begin('/checkouts', { lines: [{ sku: 'cup', quantity: 3 }], paymentToken }, ada.token)
    return until(`/checkouts/${id}`, status, checkout)
  }
  try {
    const [cancelled, closed, declined, undecided, lost, ...confirmed] = await Promise.all([
      buy(ada.token, 'tok_visa', 'confirmed'),
      buy(leaving.token, 'tok_visa', 'confirmed'),
      buy(ada.token, 'tok_declined', 'cancelled'),
      buy(ada.token, 'tok_declined', 'cancelled'),
      buy(ada.token, 'tok_lost', 'confirmed'),
      ...Array.from({ length: 24 }, () => buy(ada.token, 'tok_visa', 'confirmed')),
    ])
    const [completed, completedToo, compensated] = await Promise.all([
      check('tok_visa', 'completed'),
      check('tok_flaky', 'completed'),
      check('tok_declined', 'compensated'),
    ])
    await client.send('POST', `/orders/${cancelled.id}/cancellation`, { token: ada.token })
    await client.send('DELETE', `/users/${leaving.id}`, { token: leaving.token })
    await client.send('PUT', '/products/jam', {
      ...operator,
      body: { name: 'Jam', price: { amount: 399, currency: 'EUR' } },
    })
    await client.send('POST', '/products/jam/stock', { ...operator, body: { delta: 5 } })
    await Promise.all([cancelled, closed].map(({ id }) => until(`/orders/${id}`, 'cancelled', order)))
    const settled = await begin(
      '/settlements',
      { from: '2020-01-01T00:00:00Z', to: '2100-01-01T00:00:00Z' },
      operator.token,
    )
    await until(`/settlements/${settled}`, 'completed', settlement)
    await client.send('DELETE', '/sessions/current', { token: ada.token })
    await eventually(async () => {
      const broken = (await examine(app.app)).flatMap(({ broken }) => broken.lines)
      if (broken.length > 0) throw new Error(broken.join('\n'))
    }, 30_000)
    return {
      user: ada.id,
      leaver: leaving.id,
      /** By id; each with the id of its payment. */
      confirmed: [lost, ...confirmed].map(({ id, paymentId }) => ({ id, payment: paymentId ?? '' })),
      declined: [declined.id, undecided.id],
      completed: [completed, completedToo],
      compensated,
      settled,
    }
  } finally {
    await app.stop()
  }
}
