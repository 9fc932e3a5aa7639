import { afterAll, afterEach, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openPostgres } from '#platform/postgres'
import { createApp, withAllModules } from '../app.ts'
import { type Environment, parseConfig, parseMigrateConfig } from '../config.ts'
import { examine } from '../../scripts/invariants/examine.ts'
import { readLedger } from '../../scripts/invariants/ledger.ts'
import { migrate } from '../../scripts/migrate.ts'
import { startProvider } from '../../scripts/sandbox-provider/server.ts'
import { broker } from '../../scripts/services/broker.ts'
import { postgres } from '../../scripts/services/postgres.ts'
import { redis } from '../../scripts/services/redis.ts'
import { restoreBackup, takeBackup } from './backup.ts'
import { brokerAdmin } from './broker-admin.ts'
import { buyUntil } from './buying.ts'
import { eventually } from './eventually.ts'
import { lateJoiner } from './late-joiner.ts'
import { silent } from './messaging.ts'
import { ownServer } from './own-server.ts'
import { startProcess } from './process.ts'
import { openTestRedis } from './redis.ts'
import { runScript } from './script.ts'
import { testServices } from './services.ts'
import { type Shop, openShop } from './shop.ts'

setDefaultTimeout(400_000)

const folder = mkdtempSync(join(tmpdir(), 'bulkhead-restore-'))
const provider = startProvider({ hostname: '127.0.0.1', port: 0, file: join(folder, 'ledger.sqlite') })
const [services, database, ownBroker, ownRedis] = await Promise.all([
  testServices(),
  ownServer(postgres, 'restore-postgres'),
  ownServer(broker, 'restore-broker'),
  ownServer(redis, 'restore-redis'),
])
const environment: Environment = {
  ...services,
  ...postgres.variables(database.url),
  KAFKA_BROKERS: ownBroker.url,
  REDIS_URL: ownRedis.url,
  PAYMENT_PROVIDER_URL: provider.url,
  NODE_ENV: 'test',
  KAFKA_SESSION_TIMEOUT_MS: '1500',
  RELAY_LEASE_MS: '1000',
  FLOW_DEADLINE_MS: '8000',
}
const prepare = () => migrate(parseMigrateConfig(environment), () => undefined)
await prepare()
const admin = brokerAdmin(environment)
const topics = ['user-events', 'order-events', 'payment-events', 'payment-commands', 'payment-tasks']

type Running = Awaited<ReturnType<typeof startProcess>> & { shop: Shop }

let running: Running | undefined

const start = async (): Promise<Running> => {
  const process = await startProcess(environment)
  running = { ...process, shop: await openShop(process.url, environment) }
  return running
}

const end = async (signal: NodeJS.Signals) => {
  running?.child.kill(signal)
  await running?.child.exited
  await running?.shop.close()
  running = undefined
}

afterEach(() => end('SIGKILL'))

afterAll(async () => {
  await provider.stop()
  rmSync(folder, { recursive: true, force: true })
  await Promise.all([database, ownBroker, ownRedis].map((server) => server.remove()))
})

/** Has customers buy while `work` is done, and kills the process in the midst of it. */
const killedMeanwhile = async (work: (shop: Shop) => Promise<unknown>) => {
  const { shop } = await start()
  let killed = false
  const products = await Promise.all([shop.newProduct(100_000), shop.newProduct(100_000)])
  const enough = new AbortController()
  const buying = buyUntil(shop, products, enough.signal).catch((error: unknown) => {
    if (!killed) throw error
  })
  try {
    await work(shop)
  } finally {
    killed = true
    await end('SIGKILL')
    enough.abort()
    await buying
  }
}

/** How many orders there are, once there are that many more. */
const more = (shop: Shop, count: number) => {
  const orders = async () => Number((await shop.orders.run('select count(*) as count from orders'))[0]?.['count'])
  return orders().then((before) =>
    eventually(async () => expect(await orders()).toBeGreaterThanOrEqual(before + count), 60_000),
  )
}

/** What `work` finds out by everything that a script has, with connections of its own. */
const withApp = async <T>(work: (app: ReturnType<typeof withAllModules>) => Promise<T>): Promise<T> => {
  const app = withAllModules(createApp(parseConfig({ ...environment, LOG_LEVEL: 'silent' }), silent))
  try {
    await app.connected()
    return await work(app)
  } finally {
    await app.stop()
  }
}

/** Each invariant by its number with what breaks it, or waits for an operator. */
const broken = () =>
  withApp(async (app) =>
    (await examine(app)).flatMap(({ number, broken, waiting }) =>
      [...broken.lines, ...waiting.lines].map((line) => `${number}: ${line}`),
    ),
  )

const holds = (except: (line: string) => boolean = () => false) =>
  eventually(async () => expect((await broken()).filter((line) => !except(line))).toEqual([]), 120_000)

const republish = async (...args: string[]) => {
  for (const module of ['users', 'orders', 'payments']) {
    const { code, errors } = await runScript(
      'republish',
      [module, '--per-second', '100000', ...args],
      environment,
    ).ended()
    expect({ code, errors: code === 0 ? '' : errors }).toEqual({ code: 0, errors: '' })
  }
}

const groups = () =>
  withApp(async ({ hosted }) => Object.values(hosted).flatMap(({ consumers }) => consumers.map(({ name }) => name)))

test('consumers that are set back to the beginning of their topics change nothing', async () => {
  await killedMeanwhile((shop) => more(shop, 100))
  await start()
  await holds()
  await end('SIGTERM')
  const ledger = await withApp(readLedger)
  await admin.deleteGroups(await groups())
  expect((await broken()).some((line) => line.includes('are not handled'))).toBe(true)
  await start()
  await holds()
  expect(await withApp(readLedger)).toEqual(ledger)
})

test('a broker that has lost everything is made anew, and what it lost is made good by republish', async () => {
  await killedMeanwhile((shop) => more(shop, 100))
  await admin.deleteTopics(topics)
  await prepare()
  await republish()
  await start()
  await holds()
})

test('a database that is restored to an earlier moment than the broker and the provider goes on, and what they know of later is found', async () => {
  // Somebody else's module, which is not restored with these.
  const elsewhere = await lateJoiner(environment)
  await elsewhere.start()
  let after: string[] = []
  await killedMeanwhile(async (shop) => {
    await more(shop, 100)
    await takeBackup({ url: database.url, folder: database.folder })
    const known = await shop.orders.run('select id from orders')
    await more(shop, 100)
    const all = await shop.orders.run('select id from orders')
    after = all.map(({ id }) => String(id)).filter((id) => !known.some((row) => row['id'] === id))
  })
  await database.end('SIGKILL')
  restoreBackup({ folder: database.folder })
  await database.start()
  const restored = openPostgres({ url: database.url, name: 'test', poolSize: 2 })
  try {
    const lost = await restored.run('select id from orders.orders where id = any ($1::uuid[])', [`{${after.join()}}`])
    expect(lost.length).toBeLessThan(after.length / 2)

    await admin.deleteTopics(topics)
    const raw = openTestRedis(environment)
    await raw.flushall()
    raw.disconnect()
    await prepare()
    await republish('--raise', '1000')
    const { shop } = await start()
    // Only what the provider did for what is not known any more.
    await holds((line) => line.startsWith('2: '))
    const found = await broken()
    expect(found.filter((line) => /there is no payment/.test(line))).not.toEqual([])

    await giveBack(shop, restored)
    await holds()
    const rows = await restored.run(
      `select id, version, status from orders.orders union all select id, version, status from payments.payments`,
    )
    await eventually(async () => {
      const copies = await elsewhere.copies()
      for (const { id, version, status } of rows)
        expect({ id, ...copies.get(String(id)) }).toMatchObject({ id, sequence: version, status })
    }, 60_000)
    expect(await elsewhere.held()).toEqual([])
  } finally {
    await restored.close()
    await elsewhere.stop()
  }
})

/** What an operator does with what is found: gives back what was taken for nothing, and puts on record what went back. */
const giveBack = async (shop: Shop, { run }: Pick<ReturnType<typeof openPostgres>, 'run'>) => {
  const known = new Map(
    (await run('select id, status from payments.payments')).map((row) => [row['id'], row['status']]),
  )
  for (const [charge, { reference, amount, refunded }] of await withApp(readLedger)) {
    const status = known.get(reference)
    if (status === 'captured' && refunded === amount) expect((await shop.refund(reference)).status).toBe(202)
    if (status !== undefined || refunded === amount) continue
    const { status: answered } = await fetch(`${provider.url}/refunds`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': `by-hand:${charge}` },
      body: JSON.stringify({ charge, amount, reference }),
    })
    expect(answered).toBeLessThan(300)
  }
}
