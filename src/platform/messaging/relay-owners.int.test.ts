import { afterAll, afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { type TestSchema, testSchema } from '../../test/database.ts'
import { eventually } from '../../test/eventually.ts'
import { silent } from '../../test/messaging.ts'
import {
  type Fate,
  type RecordedTopic,
  counterWriter,
  countersTable,
  recordedTopic,
  sharesOf,
  upTo,
  waiting,
} from '../../test/outbox.ts'
import type { Run } from '../postgres.ts'
import type { Producer } from './kafka.ts'
import { type Relay, createRelay } from './relay.ts'

setDefaultTimeout(60_000)

let schema: TestSchema
let relays: Relay[] = []
const topics: RecordedTopic[] = []
let gates: (() => void)[] = []

/** Holds a producer back; opened at the end of the test at the latest. */
const gate = () => {
  const { promise: opened, resolve: open } = Promise.withResolvers<void>()
  gates.push(open)
  return { opened, open }
}

beforeAll(async () => {
  schema = await testSchema(countersTable)
})

beforeEach(() =>
  schema.owner.script(
    `truncate orders.outbox, orders.counters, orders.relay_members;
     update orders.relay_leases set owner = null, expires_at = '-infinity'`,
  ),
)

afterEach(async () => {
  for (const open of gates) open()
  gates = []
  await Promise.all(relays.map((relay) => relay.stop()))
  relays = []
})

afterAll(async () => {
  // All at once, since a consumer that stops waits for its last fetch.
  await Promise.all(topics.map((topic) => topic.close()))
  await schema.close()
})

const openTopic = async () => {
  const topic = await recordedTopic(schema.services)
  topics.push(topic)
  return topic
}

const startRelay = (producer: Producer, { run = schema.postgres.run, leaseMs = 600, batchSize = 20 } = {}) => {
  const relay = createRelay({
    name: 'orders',
    run,
    producer,
    log: silent,
    owner: Bun.randomUUIDv7(),
    leaseMs,
    batchSize,
  })
  relays.push(relay)
  relay.start()
  return relay
}

const keys = Array.from({ length: 24 }, (_, index) => `key-${index}`)
const empty = () => eventually(async () => expect(await waiting(schema.owner.run)).toBe(0), 20_000)
const shares = (expected: number[]) =>
  eventually(async () => expect(await sharesOf(schema.owner.run)).toEqual(expected), 20_000)

/** A database that one process can be cut off from, while its statements wait or fail. */
const cuttable = () => {
  let cut = false
  const run: Run = (text, parameters) =>
    cut ? Promise.reject(new Error('The database is away.')) : schema.postgres.run(text, parameters)
  return { run, cut: () => (cut = true) }
}

/** A database that notes how many rows each deletion from the outbox took. */
const countingDeletions = () => {
  const deleted: number[] = []
  const counting: Run = async (text, parameters) => {
    if (!text.startsWith('delete from outbox')) return schema.postgres.run(text, parameters)
    const rows = await schema.postgres.run(`${text} returning id`, parameters)
    deleted.push(rows.length)
    return rows
  }
  return { run: counting, deleted }
}

test('relays that come and go while writers write send every message, each key in order', async () => {
  const topic = await openTopic()
  const faults = ['taken', 'taken', 'unacknowledged', 'taken', 'half', 'taken', 'refused'] as const
  let sends = 0
  const producer = () => topic.producer(() => faults[(sends += 1) % faults.length] ?? 'taken')
  const write = counterWriter(schema.postgres, () => {
    for (const relay of relays) relay.wake()
  })
  const written = new AbortController()
  const writers = Promise.all(
    keys.map(async (key) => {
      for (let count = 0; count < 60; count += 1) await write(key)
    }),
  ).finally(() => written.abort())
  startRelay(producer())
  startRelay(producer())
  while (!written.signal.aborted) {
    const comingProducer = producer()
    const coming = startRelay(comingProducer)
    await eventually(async () => expect((await sharesOf(schema.owner.run)).length).toBeGreaterThanOrEqual(3), 20_000)
    await coming.stop()
    await comingProducer.close()
  }
  await writers
  await empty()
  expect(await topic.firstOccurrences()).toEqual(new Map(keys.map((key) => [key, upTo(60)])))
})

test('relays share the shards fairly, as many as there are', async () => {
  const topic = await openTopic()
  startRelay(topic.producer())
  await shares([12])
  startRelay(topic.producer())
  await shares([6, 6])
  const third = startRelay(topic.producer())
  await shares([4, 4, 4])
  await third.stop()
  await shares([6, 6])
})

test('the shards of a relay that died are taken over once its lease has run out, and not before', async () => {
  const topic = await openTopic()
  const database = cuttable()
  startRelay(topic.producer(), { run: database.run })
  startRelay(topic.producer())
  await shares([6, 6])
  const before = await schema.owner.run(
    'select shard, owner, epoch, expires_at from orders.relay_leases order by shard',
  )
  database.cut()
  await shares([12])
  const taken = await schema.owner.run(
    `select count(*)::int as taken from orders.relay_leases as now
     join json_to_recordset($1) as old(shard smallint, owner uuid, epoch bigint, expires_at timestamptz) using (shard)
     where now.owner <> old.owner and now.epoch > old.epoch and now.expires_at - interval '600 milliseconds' >= old.expires_at`,
    [JSON.stringify(before)],
  )
  expect(taken).toEqual([{ taken: 6 }])
})

test('a relay that stops gives its shards up at once, long before its lease runs out', async () => {
  const topic = await openTopic()
  const first = startRelay(topic.producer(), { leaseMs: 3_600_000 })
  await shares([12])
  await first.stop()
  expect(await sharesOf(schema.owner.run)).toEqual([])
  expect(await schema.owner.run('select owner from orders.relay_members')).toEqual([])
  startRelay(topic.producer())
  await shares([12])
})

test('a relay that stops finishes what it is sending and deletes it', async () => {
  const topic = await openTopic()
  const [sending, maySend] = [gate(), gate()]
  await counterWriter(schema.postgres)('key-0', 3)
  const relay = startRelay(
    topic.producer(async (): Promise<Fate> => {
      sending.open()
      await maySend.opened
      return 'taken'
    }),
  )
  await sending.opened
  const stopped = relay.stop()
  maySend.open()
  await stopped
  expect(await topic.firstOccurrences()).toEqual(new Map([['key-0', [1, 2, 3]]]))
  expect(await waiting(schema.owner.run)).toBe(0)
})

test('a relay that wakes up after its lease deletes nothing that its successor holds, and sends nothing new', async () => {
  const topic = await openTopic()
  const write = counterWriter(schema.postgres)
  const { run: counting, deleted } = countingDeletions()
  await write('key-0', 30)
  const [stalls, wakes] = [gate(), gate()]
  let zombieSends = 0
  const zombie = topic.producer(async (): Promise<Fate> => {
    zombieSends += 1
    stalls.open()
    await wakes.opened
    return 'taken'
  })
  startRelay(zombie, { run: counting, batchSize: 10 })
  await stalls.opened
  await shares([])
  await schema.owner.script('truncate orders.relay_members')
  const [holds, finishes] = [gate(), gate()]
  const successor = topic.producer(async (): Promise<Fate> => {
    holds.open()
    await finishes.opened
    return 'taken'
  })
  startRelay(successor, { batchSize: 5, leaseMs: 3_600_000 })
  await holds.opened
  wakes.open()
  await eventually(() => expect(deleted).toEqual([0]))
  expect(zombieSends).toBe(1)
  expect(await waiting(schema.owner.run)).toBe(30)
  await write('key-0', 5)
  finishes.open()
  await empty()
  expect(await topic.firstOccurrences()).toEqual(new Map([['key-0', upTo(35)]]))
})

test('a relay whose shards were lost and regained while it sent deletes nothing under the old epoch', async () => {
  const topic = await openTopic()
  const { run, deleted } = countingDeletions()
  const [sending, maySend] = [gate(), gate()]
  await counterWriter(schema.postgres)('key-0', 3)
  const producer = topic.producer(async (): Promise<Fate> => {
    sending.open()
    await maySend.opened
    return 'taken'
  })
  startRelay(producer, { run, leaseMs: 3_000 })
  await sending.opened
  await schema.owner.script('update orders.relay_leases set epoch = epoch + 1')
  maySend.open()
  await empty()
  expect([deleted[0], deleted.at(-1)]).toEqual([0, 3])
  expect(await topic.firstOccurrences()).toEqual(new Map([['key-0', [1, 2, 3]]]))
})
