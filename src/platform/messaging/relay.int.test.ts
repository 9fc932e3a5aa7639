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

const relayOn = (producer: Producer, options: { run?: Run; leaseMs?: number; batchSize?: number } = {}) => {
  const relay = createRelay({
    name: 'orders',
    run: schema.postgres.run,
    producer,
    log: silent,
    owner: Bun.randomUUIDv7(),
    ...options,
  })
  relays.push(relay)
  return relay
}

const fates = (...given: Fate[]) => {
  const left = [...given]
  return () => left.shift() ?? 'taken'
}

const keys = Array.from({ length: 20 }, (_, index) => `key-${index}`)
const empty = () => eventually(async () => expect(await waiting(schema.owner.run)).toBe(0), 20_000)

const expectAll = async (topic: RecordedTopic, count: number) =>
  expect(await topic.firstOccurrences()).toEqual(new Map(keys.map((key) => [key, upTo(count)])))

const writeAll = async (write: (key: string, times?: number) => Promise<void>, count: number) => {
  for (let round = 0; round < count; round += 1) await Promise.all(keys.map((key) => write(key)))
}

test('what is committed is sent and deleted, in the order of each key', async () => {
  const topic = await openTopic()
  const relay = relayOn(topic.producer(), { batchSize: 7 })
  relay.start()
  await writeAll(counterWriter(schema.postgres, relay.wake), 10)
  await relay.drained()
  await expectAll(topic, 10)
  expect(await topic.sent()).toHaveLength(200)
  expect(await waiting(schema.owner.run)).toBe(0)
})

const failures: Fate[][] = [
  ['refused'],
  ['unacknowledged'],
  ['half'],
  ['taken', 'refused', 'half', 'unacknowledged', 'taken', 'unacknowledged', 'refused', 'taken', 'half'],
]

for (const failure of failures) {
  test(`a batch that is ${failure.join(', ')} loses nothing and swaps no first occurrences`, async () => {
    const topic = await openTopic()
    await writeAll(counterWriter(schema.postgres), 5)
    const relay = relayOn(topic.producer(fates(...failure)), { batchSize: 9 })
    relay.start()
    await relay.drained()
    await empty()
    await expectAll(topic, 5)
  })
}

test('nothing is sent behind a batch that is not acknowledged, and it is sent again unchanged', async () => {
  const topic = await openTopic()
  await counterWriter(schema.postgres)('key-0', 12)
  const batches: string[][] = []
  const relay = relayOn(
    topic.producer((records) => {
      batches.push(records.map(({ headers }) => headers['ce_sequence'] ?? ''))
      return batches.length <= 3 ? 'refused' : 'taken'
    }),
    { batchSize: 4 },
  )
  relay.start()
  await relay.drained()
  await empty()
  expect(batches.slice(0, 5)).toEqual([
    ['1', '2', '3', '4'],
    ['1', '2', '3', '4'],
    ['1', '2', '3', '4'],
    ['1', '2', '3', '4'],
    ['5', '6', '7', '8'],
  ])
})

test('a message committed late, below ids that were sent already, is sent before the next of its key', async () => {
  const topic = await openTopic()
  const inserted = Promise.withResolvers<void>()
  const mayCommit = Promise.withResolvers<void>()
  const insertLate = (run: Run, sequence: number) =>
    run(
      `insert into outbox (shard, message_id, topic, key, type, source, subject, sequence, occurred_at, correlation_id, causation_id, value)
       values (0, $1, 'test', 'late', 'orders.counted.v1', 'orders', 'late', $2, '2026-01-01T00:00:00Z', 'c', 'c', '{}')`,
      [Bun.randomUUIDv7(), sequence],
    )
  const late = schema.open(1).transaction(async ({ run }) => {
    await insertLate(run, 1)
    inserted.resolve()
    await mayCommit.promise
  })
  await inserted.promise
  await writeAll(counterWriter(schema.postgres), 10)
  let sends = 0
  const relay = relayOn(
    topic.producer(async (): Promise<Fate> => {
      sends += 1
      if (sends === 20) {
        mayCommit.resolve()
        await late
        await insertLate(schema.postgres.run, 2)
      }
      return 'taken'
    }),
    { batchSize: 5 },
  )
  relay.start()
  await relay.drained()
  await empty()
  expect(await topic.firstOccurrences()).toEqual(
    new Map([...keys.map((key) => [key, upTo(10)] as const), ['late', [1, 2]]]),
  )
})

test('a transaction that wrote first and changes the aggregate last has its message sent last', async () => {
  const topic = await openTopic()
  const write = counterWriter(schema.postgres)
  const wrote = Promise.withResolvers<void>()
  const mayGoOn = Promise.withResolvers<void>()
  // Its transaction id and its now() are older than those of whoever changes the aggregate before it.
  const early = schema.open(1).transaction(async (transaction) => {
    await transaction.run(`insert into counters values ('elsewhere', 1)`)
    wrote.resolve()
    await mayGoOn.promise
    await counterWriter({ ...schema.postgres, transaction: (work) => work(transaction) })('key-0')
  })
  await wrote.promise
  await write('key-0', 2)
  mayGoOn.resolve()
  await early
  await write('key-0')
  const relay = relayOn(topic.producer())
  relay.start()
  await relay.drained()
  await empty()
  expect(await topic.firstOccurrences()).toEqual(new Map([['key-0', upTo(4)]]))
})

test('a relay that dies between the acknowledgement and the deletion loses nothing', async () => {
  const topic = await openTopic()
  await writeAll(counterWriter(schema.postgres), 3)
  const died = Promise.withResolvers<void>()
  const never = new Promise<never>(() => undefined)
  const dead = createRelay({
    name: 'orders',
    run: (text, parameters) => {
      if (!text.startsWith('delete from outbox')) return schema.postgres.run(text, parameters)
      died.resolve()
      return never
    },
    producer: topic.producer(),
    log: silent,
    owner: Bun.randomUUIDv7(),
    leaseMs: 600,
    batchSize: 10,
  })
  dead.start()
  await died.promise
  expect(await topic.sent()).not.toEqual([])
  relayOn(topic.producer(), { leaseMs: 600 }).start()
  await empty()
  await expectAll(topic, 3)
})

test('a deletion that fails while the next batch is read ends nothing, and nothing is lost', async () => {
  const topic = await openTopic()
  await writeAll(counterWriter(schema.postgres), 5)
  let deletions = 0
  const run: Run = async (text, parameters) => {
    if (!text.startsWith('delete from outbox')) {
      if (deletions === 1) await Bun.sleep(50)
      return schema.postgres.run(text, parameters)
    }
    deletions += 1
    if (deletions === 1) throw new Error('on purpose')
    return schema.postgres.run(text, parameters)
  }
  const relay = relayOn(topic.producer(), { run, batchSize: 10 })
  relay.start()
  await relay.drained()
  await empty()
  await expectAll(topic, 5)
})

test('a database that goes away for a while stops no relay', async () => {
  const topic = await openTopic()
  let away = true
  const run: Run = (text, parameters) =>
    away ? Promise.reject(new Error('on purpose')) : schema.postgres.run(text, parameters)
  const relay = relayOn(topic.producer(), { run })
  relay.start()
  await writeAll(counterWriter(schema.postgres, relay.wake), 1)
  expect(await topic.sent()).toEqual([])
  away = false
  await empty()
  await expectAll(topic, 1)
})
