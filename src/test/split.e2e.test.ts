import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type Environment, parseMigrateConfig } from '../config.ts'
import { migrate } from '../../scripts/migrate.ts'
import { postgres } from '../../scripts/services/postgres.ts'
import { moduleUrl } from '../../scripts/services/postgres-url.ts'
import { createDatabase, dropDatabase, withDatabase } from '../../scripts/services/test-database.ts'
import { openPostgres } from '#platform/postgres'
import { testEnvironment } from './app.ts'
import { doBusiness } from './business.ts'
import { createClient, refusal } from './client.ts'
import { eventually } from './eventually.ts'
import { layoutOf } from './layout.ts'
import { messagesByKey } from './normal.ts'
import { ownServer } from './own-server.ts'
import { startProcess } from './process.ts'
import { openShop, patienceMs } from './shop.ts'
import { readTopic } from './topic.ts'

setDefaultTimeout(180_000)

const shared = await testEnvironment()
const serverUrl = shared['DATABASE_URL'] ?? ''
const names = { users: `split_users_${process.pid}`, orders: `split_orders_${process.pid}` }
for (const name of Object.values(names)) await createDatabase(serverUrl, name)
const ofPayments = await ownServer(postgres, 'split')

/** Users and orders have a database each, payments has a server. */
const environment: Environment = {
  ...shared,
  DATABASE_URL: undefined,
  USERS_DATABASE_URL: withDatabase(shared, names.users)['USERS_DATABASE_URL'],
  USERS_OWNER_URL: withDatabase(shared, names.users)['DATABASE_URL'],
  ORDERS_DATABASE_URL: withDatabase(shared, names.orders)['ORDERS_DATABASE_URL'],
  ORDERS_OWNER_URL: withDatabase(shared, names.orders)['DATABASE_URL'],
  PAYMENTS_DATABASE_URL: moduleUrl(ofPayments.url, 'payments'),
  PAYMENTS_OWNER_URL: ofPayments.url,
}
for (const MODULES of ['users', 'orders', 'payments'])
  await migrate(parseMigrateConfig({ ...environment, MODULES }), () => undefined)

const topics = await Promise.all(
  ['user-events', 'order-events', 'payment-events', 'payment-commands', 'payment-tasks'].map((topic) =>
    readTopic(environment, topic),
  ),
)
const running = new Set<Awaited<ReturnType<typeof startProcess>>>()

const end = async (process: Awaited<ReturnType<typeof startProcess>>, signal: NodeJS.Signals = 'SIGTERM') => {
  running.delete(process)
  process.child.kill(signal)
  return process.ended()
}

afterAll(async () => {
  await Promise.all([...running].map((process) => end(process, 'SIGKILL')))
  await Promise.all(topics.map(({ stop }) => stop()))
  for (const name of Object.values(names)) await dropDatabase(serverUrl, name)
  await ofPayments.remove()
})

const start = async (settings: Environment) => {
  const process = await startProcess(settings)
  running.add(process)
  const client = createClient(process.url)
  await eventually(async () => expect((await client.send('GET', '/readyz')).status).toBe(200), patienceMs)
  return { ...process, client, end: (signal?: NodeJS.Signals) => end(process, signal) }
}

const messagesOf = (run: string) =>
  messagesByKey(
    topics.flatMap(({ records }) => records),
    run,
  )

const typesOf = (messages: unknown) =>
  new Set([...JSON.stringify(messages).matchAll(/"type":"([^"]+)"/g)].map(([, type]) => type))

/** The whole business in that many processes. */
const run = async (name: string, layout: string | undefined) => {
  const settings = await layoutOf(environment, layout)
  const processes = await Promise.all(settings.map(start))
  const { answers, kept } = await doBusiness({ run: name, doors: processes.map(({ url }) => url), environment })
  return { settings, processes, answers, kept }
}

test('the server of payments knows no role of another module', async () => {
  const owner = openPostgres({ url: ofPayments.url, name: 'test', poolSize: 2 })
  const roles = await owner.run(`select rolname from pg_roles where rolname in ('users', 'orders', 'payments')`)
  expect(roles).toEqual([{ rolname: 'payments' }])
  await owner.close()
})

const suffix = Bun.randomUUIDv7()
const [together, apart] = [`together-${suffix}`, `apart-${suffix}`]
const one = await run(together, undefined)
const codes = await Promise.all(one.processes.map(async (process) => (await process.end()).code))
const three = await run(apart, 'payments|users|orders')
const [payments, users] = three.processes

describe('one process, and then three on the same databases,', () => {
  test('give the same answers to the same requests', () => {
    expect(codes).toEqual([0])
    expect(three.answers).toEqual(one.answers)
    expect(new Set(one.answers.map(([, status]) => status))).toEqual(new Set([200, 201, 202, 409]))
  })

  test('say the same for each key, in the same order', async () => {
    await eventually(() => {
      // All types but the command that asks for the money of a checkout back, which only a lost answer leads to.
      expect(typesOf(messagesOf(together)).size).toBe(16)
      expect(messagesOf(apart)).toEqual(messagesOf(together))
    }, patienceMs)
  })

  test('need nothing that is only for a host of the others', () => {
    const own = { payments: ['PAYMENT_PROVIDER_URL'], users: [], orders: [] }
    for (const { MODULES = '', ...settings } of three.settings) {
      const needed = [...own[MODULES as keyof typeof own], `${MODULES.toUpperCase()}_DATABASE_URL`]
      const secrets = Object.keys(environment).filter((name) => /_DATABASE_URL$|PROVIDER_URL$/.test(name))
      expect(secrets).toHaveLength(4)
      for (const name of [...secrets, 'DATABASE_URL']) {
        expect([name, settings[name] !== undefined]).toEqual([name, needed.includes(name)])
      }
    }
  })
})

test('a process that was killed holds up its own module and nothing else, until it is back', async () => {
  if (!payments || !users) throw new Error('There are no three processes.')
  const shop = await openShop(users.url, environment)
  await payments.end('SIGKILL')

  const path = `/payments/${three.kept.payment}`
  const away = await users.client.send('GET', path, { token: shop.operator })
  expect(refusal(away)).toEqual({ status: 503, code: 'module-not-answering' })
  expect(Number(away.headers.get('retry-after'))).toBeGreaterThan(0)
  const query = 'query ($id: ID!) { payment(id: $id) { status order { status } } }'
  const { data } = await users.client.graphql(query, { id: three.kept.payment }, { token: shop.operator })
  expect(data).toEqual({ payment: { status: 'refunded', order: { status: 'cancelled' } } })
  expect((await users.client.send('GET', '/readyz')).status).toBe(200)
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  const { id, status } = await shop.buy(buyer, [{ sku, quantity: 1 }])
  expect(status).toBe('pending')

  await start(three.settings[0] ?? {})
  await shop.eventuallyOrder(id, { status: 'confirmed' })
  expect((await users.client.send('GET', path, { token: shop.operator })).status).toBe(200)
  await shop.expectBalanced(sku)
  await shop.close()
})
