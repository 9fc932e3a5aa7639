import { afterAll, afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { redis as service } from '../../scripts/services/redis.ts'
import { type TestSchema, testSchema } from '../test/database.ts'
import { eventually } from '../test/eventually.ts'
import { counted, noBroker, silent, trace } from '../test/messaging.ts'
import { type OwnServer, ownServer } from '../test/own-server.ts'
import { createHints } from './hints.ts'
import type { Broker } from './messaging/kafka.ts'
import { relayShards, shardOf } from './messaging/outbox.ts'
import { type HostedModule, hostModule } from './module.ts'
import { type RedisClient, openRedis } from './redis.ts'
import { sleep } from './retry.ts'

setDefaultTimeout(60_000)

let schema: TestSchema
let server: OwnServer
let raw: Bun.RedisClient
let clients: RedisClient[] = []
let modules: HostedModule<'orders'>[] = []

beforeAll(async () => {
  schema = await testSchema()
  server = await ownServer(service, 'hints')
})

beforeEach(async () => {
  raw = new Bun.RedisClient(server.url)
  await schema.owner.script(
    `truncate orders.outbox, orders.relay_members; update orders.relay_leases set owner = null, expires_at = '-infinity'`,
  )
})

afterEach(async () => {
  await Promise.all(modules.map((module) => module.stop()))
  for (const client of clients) client.close()
  raw.close()
  modules = []
  clients = []
})

afterAll(async () => {
  await server.remove()
  await schema.close()
})

const connect = () => {
  const redis = openRedis({ url: server.url, name: 'test', log: silent })
  clients.push(redis)
  return redis
}

/** Far longer than a test: what is relayed before a poll was relayed because of a word. */
const leaseMs = 3_600_000

const listeners = async (channel = 'orders:hints'): Promise<number> => {
  const [, count] = (await raw.send('PUBSUB', ['NUMSUB', channel])) as [string, number]
  return count
}

const listening = (count: number) => eventually(async () => expect(await listeners()).toBe(count))

/** A process that hosts the module, and the keys of what it has sent, in order. */
const startProcess = async (owner: string) => {
  const sent: string[] = []
  const producer: ReturnType<Broker['producer']> = {
    send: (records) => Promise.resolve(void sent.push(...records.map(({ key }) => key))),
    close: () => Promise.resolve(),
  }
  const redis = connect()
  await redis.connected(5_000)
  const module = hostModule<'orders'>({
    definition: { name: 'orders', topics: [counted.topic], consumes: [], snapshots: [], consumers: () => [] },
    postgres: schema.open(),
    broker: { ...noBroker, producer: () => producer },
    redis,
    log: silent,
    owner,
    relayLeaseMs: leaseMs,
    hints: createHints(redis),
  })
  modules.push(module)
  await module.start()
  const emit = (...keys: string[]) =>
    module.context(trace()).transact((_, emit) => {
      for (const key of keys) emit(counted(key, 1, { count: 1 }))
      return Promise.resolve()
    })
  return { sent, emit }
}

const shardsOf = async (owner: string) => {
  const rows = await schema.owner.run('select shard from orders.relay_leases where owner = $1', [owner])
  return rows.map((row) => Number(row['shard']))
}

/** Two processes that hold half of the shards each; the second is seen before the first takes its share. */
const startTwo = async () => {
  const owners = [Bun.randomUUIDv7(), Bun.randomUUIDv7()] as const
  await schema.owner.run('insert into orders.relay_members values ($1, clock_timestamp())', [owners[1]])
  const first = await startProcess(owners[0])
  await eventually(async () => expect(await shardsOf(owners[0])).toHaveLength(relayShards / 2))
  const second = await startProcess(owners[1])
  await eventually(async () => expect(await shardsOf(owners[1])).toHaveLength(relayShards / 2))
  await listening(2)
  const shards = await shardsOf(owners[1])
  const keys = Array.from({ length: 60 }, (_, index) => `key-${index}`)
  return {
    first,
    second,
    ofFirst: keys.filter((key) => !shards.includes(shardOf(key))),
    ofSecond: keys.filter((key) => shards.includes(shardOf(key))),
  }
}

test('a commit in one process is relayed by the one that holds its shard, without a poll', async () => {
  const { first, second, ofFirst, ofSecond } = await startTwo()
  await first.emit(...ofSecond)
  await eventually(() => expect(second.sent).toEqual(ofSecond))
  await second.emit(...ofFirst)
  await eventually(() => expect(first.sent).toEqual(ofFirst))
})

test('a process is heard again after Redis was away; meanwhile commits go on, and are found behind the next word', async () => {
  const { first, second, ofSecond } = await startTwo()
  const [lost = '', ...rest] = ofSecond
  await server.end('SIGKILL')
  await first.emit(lost)
  expect(await schema.owner.run('select key from orders.outbox')).toEqual([{ key: lost }])
  await server.start()
  raw.close()
  raw = new Bun.RedisClient(server.url)
  await listening(2)
  for (const redis of clients) await redis.connected(10_000)
  await first.emit(...rest)
  await eventually(() => expect(second.sent).toEqual(ofSecond))
})

test('a process relays what is its own while Redis is away', async () => {
  const { first, ofFirst } = await startTwo()
  await server.end('SIGKILL')
  await first.emit(...ofFirst)
  await eventually(() => expect(first.sent).toEqual(ofFirst))
  await server.start()
})

test('of many commits within a moment the first is a word at once, and the others are one together', async () => {
  const [speaker, listener] = [connect(), connect()]
  await speaker.connected(5_000)
  const heard: string[] = []
  createHints(listener).receive('orders', () => heard.push('orders'))
  createHints(listener).receive('users', () => heard.push('users'))
  await listening(1)
  await eventually(async () => expect(await listeners('users:hints')).toBe(1))
  const hints = createHints(speaker)
  const say = async () => {
    const before = heard.length
    for (let commits = 0; commits < 100; commits += 1) hints.send('orders')
    await eventually(() => expect(heard.length).toBe(before + 2))
  }
  await say()
  // Behind the moment of the last word.
  await sleep(50)
  await say()
  hints.send('users')
  await eventually(() => expect(heard).toContain('users'))
  // Words of one connection come in their order.
  expect(heard).toEqual(['orders', 'orders', 'orders', 'orders', 'users'])
})

test('a process does not hear its own words', async () => {
  const [own, other] = [connect(), connect()]
  await Promise.all([own.connected(5_000), other.connected(5_000)])
  const heard: string[] = []
  const hints = createHints(own)
  hints.receive('orders', () => heard.push('own'))
  const others = createHints(other)
  others.receive('orders', () => heard.push('other'))
  await listening(2)
  hints.send('orders')
  await eventually(() => expect(heard).toEqual(['other']))
  others.send('orders')
  // Redis gives every listener its words in one order, so its own would have come before this one.
  await eventually(() => expect(heard).toEqual(['other', 'own']))
})
