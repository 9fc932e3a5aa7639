import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Redis } from 'ioredis'
import { migrate } from '../../scripts/migrate.ts'
import { orderEvents } from '#events/orders'
import { paymentCommands, paymentEvents, paymentTasks } from '#events/payments'
import { userEvents } from '#events/users'
import { type BrokerSettings, openBroker } from '#platform/messaging/kafka'
import { consumerName } from '#platform/messaging/message'
import { checkSchemaVersion } from '#platform/migrations'
import { openPostgres } from '#platform/postgres'
import { openRedis } from '#platform/redis'
import { type ModuleName, brokerSettings, moduleNames, parseConfig, parseMigrateConfig } from '../config.ts'
import { startEncryptedSystem } from './encrypted-system.ts'
import { eventually } from './eventually.ts'
import { silent } from './messaging.ts'
import { runProcess, startProcess } from './process.ts'
import { openShop } from './shop.ts'
import { messageThrownBy } from './thrown.ts'

setDefaultTimeout(60_000)

const system = await startEncryptedSystem()
const { environment } = system
const [postgresUrl = '', redisUrl = '', brokers = ''] = ['USERS_DATABASE_URL', 'REDIS_URL', 'KAFKA_BROKERS'].map(
  (name) => environment[name],
)
const reported: string[] = []
await migrate(parseMigrateConfig(system.migrating), (line) => reported.push(line))
const running = await startProcess(environment)

afterAll(async () => {
  running.child.kill()
  await running.ended()
  await system.remove()
})

const brokerOf = (module: ModuleName, overrides: Partial<BrokerSettings> = {}) =>
  openBroker({ ...brokerSettings(parseConfig(environment), module), clientId: 'test', log: silent, ...overrides })

const postgresAt = async (url: string, ca?: string) => {
  const postgres = openPostgres({ url, name: 'test', poolSize: 1, ca })
  try {
    const [row] = await postgres.run('select ssl from pg_stat_ssl where pid = pg_backend_pid()')
    return row?.['ssl']
  } finally {
    await postgres.close()
  }
}

const redisAt = async (url: string, ca?: string) => {
  const redis = openRedis({ url, name: 'test', log: silent, ca })
  try {
    await redis.signIn()
    await redis.connected(1_000)
  } finally {
    redis.close()
  }
}

describe('where everything is encrypted and nobody goes without a name,', () => {
  test('what is bought is paid and confirmed, by order and by checkout', async () => {
    const shop = await openShop(running.url, environment)
    const { sku } = await shop.newProduct()
    const buyer = await shop.newBuyer()
    const { id } = await shop.buy(buyer, [{ sku, quantity: 1 }])
    await shop.eventuallyOrder(id, { status: 'confirmed' })
    const checkout = await shop.checkOut(buyer, [{ sku, quantity: 2 }])
    await shop.eventuallyCheckout(checkout.id, { status: 'completed' })
    await shop.eventuallyStock(sku, 7)
    await shop.close()
  })

  test('the process has every connection to Redis encrypted, the one that listens included', async () => {
    const redis = new Redis(redisUrl, { tls: { ca: system.ca } })
    const names = [...String(await redis.client('LIST')).matchAll(/ name=(\S+) /g)].map(([, name]) => name)
    redis.disconnect()
    expect(names.filter((name) => name?.startsWith('bulkhead')).length).toBe(2)
  })

  test('a process goes on after Postgres and Redis were killed', async () => {
    for (const server of [system.postgres, system.redis]) {
      await server.end('SIGKILL')
      await server.start()
    }
    await eventually(async () => expect((await fetch(`${running.url}/readyz`)).status).toBe(200), 30_000)
    const shop = await openShop(running.url, environment)
    const { sku } = await shop.newProduct()
    const { id } = await shop.buy(await shop.newBuyer(), [{ sku, quantity: 1 }])
    await shop.eventuallyOrder(id, { status: 'confirmed' })
    await shop.close()
  })
})

describe('at the broker', () => {
  const strange = {
    users: [orderEvents, paymentEvents, paymentCommands, paymentTasks],
    orders: [userEvents, paymentEvents, paymentTasks],
    payments: [userEvents, orderEvents, paymentCommands],
  }
  for (const module of moduleNames)
    test(`${module} writes to no topic but its own, and those of the commands that it sends`, async () => {
      for (const { name } of strange[module]) {
        const producer = brokerOf(module).producer()
        const sent = producer.send([{ topic: name, key: 'k', value: '{}', headers: {} }])
        expect(await messageThrownBy(sent)).toMatch(/not authorized/i)
        await producer.close()
      }
    })

  test('a module reads what it consumes, in its own group, and nothing else', async () => {
    const readBy = (module: ModuleName, group: string, topic: string) => brokerOf(module).lag(group, topic)
    const group = consumerName('orders', userEvents)
    expect(await readBy('orders', group, userEvents.name)).toBeArray()
    expect(await messageThrownBy(readBy('users', group, userEvents.name))).toContain('group coordinator')
    expect(await messageThrownBy(readBy('users', group, orderEvents.name))).toMatch(/not authorized/i)
  })

  test('rights are given again without harm, and by nobody who may not', async () => {
    const again: string[] = []
    await migrate(parseMigrateConfig(system.migrating), (line) => again.push(line))
    expect([reported.at(-1), again]).toEqual(['rights: users, orders, payments', ['rights: users, orders, payments']])
    const asUsers = { ...system.migrating, KAFKA_SASL_USERNAME: 'users', KAFKA_SASL_PASSWORD: 'users' }
    expect(await messageThrownBy(migrate(parseMigrateConfig(asUsers), () => undefined))).toMatch(
      /^The topics could not be created at 127\.0\.0\.1:\d+: order-events: .*authoriz/i,
    )
  })

  test('every mechanism lets in who knows the password, and nobody else', async () => {
    for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512'] as const) {
      await brokerOf('users', { sasl: { mechanism, username: 'admin', password: 'admin' } }).partitions([])
      const wrong = brokerOf('users', { sasl: { mechanism, username: 'admin', password: 'wrong' } })
      expect(await messageThrownBy(wrong.signIn())).toMatch(/^The broker at 127\.0\.0\.1:\d+ does not let us in: SASL/)
    }
  })
})

describe('a connection in plain text is refused', () => {
  test('by Postgres', async () => {
    expect(await messageThrownBy(postgresAt(postgresUrl.replace(/\?.*/, '')))).toContain('no encryption')
  })

  test('by Redis', async () => {
    expect(await messageThrownBy(redisAt(redisUrl.replace('rediss:', 'redis:')))).toContain('does not answer')
  })

  test('by the broker', async () => {
    expect(await messageThrownBy(brokerOf('users', { ssl: false }).partitions([]))).toContain('Closed connection')
  })
})

/** What each service is refused with by who trusts this authority and reaches it there. */
const refusals = async (ca: string, at: (address: string) => string = (address) => address) => {
  const postgres = openPostgres({ url: at(postgresUrl), name: 'test', poolSize: 1, ca })
  const lines = await Promise.all([
    messageThrownBy(checkSchemaVersion('users', postgres)),
    messageThrownBy(redisAt(at(redisUrl), ca)),
    messageThrownBy(brokerOf('users', { brokers: [at(brokers)], ca }).signIn()),
  ])
  await postgres.close()
  return lines
}

describe('a server is refused', () => {
  test('that another authority certified, be it one of the same name', async () => {
    for (const line of await refusals(system.impostor.ca))
      expect(line).toMatch(/^The .* is not trusted: its certificate comes from no CA .*: set TLS_CA_FILE .*\.$/)
  })

  test('that is certified for another name', async () => {
    for (const line of await refusals(system.ca, (address) => address.replace('127.0.0.1', 'localhost')))
      expect(line).toMatch(/^The .* is not trusted: its certificate is for another host: .*\.$/)
  })

  test('at the start, with one line', async () => {
    const start = async (overrides: object) => runProcess({ ...environment, LOG_LEVEL: 'error', ...overrides }).ended()
    for (const overrides of [
      { TLS_CA_FILE: system.impostor.file },
      { REDIS_URL: redisUrl.replace('secret', 'wrong') },
      { ORDERS_KAFKA_SASL_PASSWORD: 'wrong' },
    ])
      expect(await start(overrides)).toEqual({
        code: 1,
        log: [],
        errors: [expect.stringMatching(/^The .*( is not trusted: | does not let us in).*/)],
      })
  })

  test('unless the runtime trusts its authority, when none is set', async () => {
    const { TLS_CA_FILE, ...rest } = environment
    const second = await startProcess({ ...rest, NODE_EXTRA_CA_CERTS: TLS_CA_FILE })
    second.child.kill()
    expect((await second.ended()).code).toBe(0)
  })

  test('by Postgres’ sslmode as Postgres’ own programs do', async () => {
    const [byAddress, byName] = [postgresUrl, postgresUrl.replace('127.0.0.1', 'localhost')]
    const encrypted = (url: string, mode: string, ca?: string) =>
      postgresAt(url.replace('verify-full', mode), ca).catch(() => 'refused')
    expect(await encrypted(byAddress, 'verify-full', system.ca)).toBe(true)
    expect(await encrypted(byName, 'verify-full', system.ca)).toBe('refused')
    expect(await encrypted(byName, 'verify-ca', system.ca)).toBe(true)
    expect(await encrypted(byName, 'verify-ca', system.impostor.ca)).toBe('refused')
    expect(await encrypted(byName, 'require')).toBe(true)
    expect(await encrypted(byName, 'require', system.impostor.ca)).toBe('refused')
  })
})
