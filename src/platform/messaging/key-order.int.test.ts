import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { type TestSchema, testSchema } from '../../test/database.ts'
import { eventually } from '../../test/eventually.ts'
import { batchOf, countRestated, counted, noBroker, recordOf, silent } from '../../test/messaging.ts'
import { thrownBy } from '../../test/thrown.ts'
import { DomainError } from '../errors.ts'
import type { Tx } from '../postgres.ts'
import { createTimers } from '../timers.ts'
import { type ConsumerOptions, createConsumer, onEach } from './consumer.ts'
import { createDeadLetters } from './dead-letter.ts'
import type { Received } from './message.ts'
import { createOutbox } from './outbox.ts'

setDefaultTimeout(60_000)

let schema: TestSchema
/** The messages that are refused, as `key sequence`. */
let refused: Set<string>

/** The key of each name: an id that is younger than the consumer. */
let keys: Map<string, string>

const keyOf = (name: string): string => {
  const key = keys.get(name) ?? Bun.randomUUIDv7()
  keys.set(name, key)
  return key
}

const nameOf = (key: unknown): string => [...keys].find(([, id]) => id === key)?.[0] ?? String(key)

beforeAll(async () => {
  schema = await testSchema(
    'create table effects (place bigint generated always as identity, key text not null, sequence integer not null)',
  )
})

beforeEach(async () => {
  refused = new Set()
  keys = new Map()
  await schema.owner.script(
    'truncate orders.effects, orders.inbox, orders.outbox, orders.dead_letters, orders.inbox_keys, orders.timers',
  )
  await schema.owner.script(`insert into orders.inbox_consumers values ('orders.test-counter-events', '2026-01-01')
    on conflict do nothing`)
})

afterAll(() => schema.close())

const apply = async ({ tx }: { tx: Tx }, { key, sequence = 0 }: Received): Promise<void> => {
  await tx.execute(sql`insert into effects (key, sequence) values (${key}, ${sequence})`)
  if (refused.has(`${nameOf(key)} ${sequence}`)) throw new DomainError('refused', 'Not now.')
}

/** A process of its own, as far as the database can tell. */
const open = (options: Partial<ConsumerOptions<'orders'>> = {}) => {
  const outbox = createOutbox<'orders'>({
    source: 'orders',
    postgres: schema.postgres,
    newId: () => Bun.randomUUIDv7(),
    now: () => new Date(),
    committed: () => undefined,
  })
  const parts = { postgres: schema.postgres, outbox, log: silent, committed: () => undefined }
  const consumer = createConsumer<'orders'>({
    module: 'orders',
    definition: {
      topic: counted.topic,
      handlers: [onEach(counted, apply), onEach(countRestated, apply)],
    },
    broker: noBroker,
    retry: { firstMs: 1, maxMs: 5 },
    ...parts,
    ...options,
  })
  const deadLetters = createDeadLetters({ postgres: schema.postgres, consumers: [consumer] })
  const timers = createTimers({ definitions: [consumer.gaps, consumer.drains], pollMs: 20, ...parts })
  return { consumer, deadLetters, timers }
}

let offset = 0

/** Hands `key sequence` over, each in a message of its own, as one batch; `key sequence!` is a restatement. */
const deliver = async (consumer: ReturnType<typeof open>['consumer'], ...names: string[]) => {
  const records = names.map((name) => {
    const [key = '', place = ''] = name.split(' ')
    const sequence = Number.parseInt(place, 10)
    return recordOf((place.endsWith('!') ? countRestated : counted)(keyOf(key), sequence, { count: sequence }))
  })
  await consumer.handle(batchOf(records, { offset }))
  offset += records.length
  return records
}

const effects = async () => {
  const rows = await schema.owner.run('select key, sequence from orders.effects order by place')
  return rows.map((row) => `${nameOf(row['key'])} ${row['sequence']}`)
}

const held = async ({ deadLetters }: ReturnType<typeof open>) =>
  (await deadLetters.list()).map(({ key, sequence, status, code }) => `${nameOf(key)} ${sequence} ${status} ${code}`)

const idOf = async ({ deadLetters }: ReturnType<typeof open>, name: string) =>
  (await deadLetters.list()).find(({ key, sequence }) => `${nameOf(key)} ${sequence}` === name)?.id ?? ''

test('a message that is parked holds up its own key and no other', async () => {
  const process = open()
  refused.add('a 2')
  await deliver(process.consumer, 'a 1', 'b 1', 'a 2', 'a 3', 'b 2', 'a 4')
  expect((await effects()).toSorted()).toEqual(['a 1', 'b 1', 'b 2'])
  expect(await held(process)).toEqual(['a 2 parked refused', 'a 3 queued behind', 'a 4 queued behind'])
})

test('what is queued stays behind for whichever process gets the partition next', async () => {
  const first = open()
  refused.add('a 1')
  await deliver(first.consumer, 'a 1')
  const second = open()
  await deliver(second.consumer, 'a 2')
  expect(await effects()).toEqual([])
  expect(await held(second)).toEqual(['a 1 parked refused', 'a 2 queued behind'])
})

test('a redrive applies what was parked and then what is queued, in its order', async () => {
  const process = open()
  refused.add('a 1')
  await deliver(process.consumer, 'a 1', 'a 2', 'a 3')
  refused.clear()
  await process.deadLetters.redrive(await idOf(process, 'a 1'), { by: 'test' })
  expect(await effects()).toEqual(['a 1', 'a 2', 'a 3'])
  await deliver(process.consumer, 'a 4')
  expect(await effects()).toEqual(['a 1', 'a 2', 'a 3', 'a 4'])
  expect(await held(process)).toEqual([])
})

test('a skip gives one message up, and the queue follows until the next that is refused', async () => {
  const process = open()
  for (const name of ['a 1', 'a 3']) refused.add(name)
  await deliver(process.consumer, 'a 1', 'a 2', 'a 3', 'a 4')
  await process.deadLetters.skip(await idOf(process, 'a 1'), { by: 'test' })
  expect(await effects()).toEqual(['a 2'])
  expect(await held(process)).toEqual(['a 3 parked refused', 'a 4 queued behind'])
})

test('only the first of a queue can be redriven or skipped', async () => {
  const process = open()
  refused.add('a 1')
  await deliver(process.consumer, 'a 1', 'a 2')
  const id = await idOf(process, 'a 2')
  for (const verb of ['redrive', 'skip'] as const) {
    expect(await thrownBy(process.deadLetters[verb](id, { by: 'test' }))).toMatchObject({ code: 'not-first' })
  }
  expect(await held(process)).toEqual(['a 1 parked refused', 'a 2 queued behind'])
})

test('a message that comes before its time waits for the missing one, and follows it', async () => {
  const process = open()
  await deliver(process.consumer, 'a 1', 'a 3', 'a 4')
  expect(await effects()).toEqual(['a 1'])
  expect(await held(process)).toEqual(['a 3 waiting gap', 'a 4 queued behind'])
  await deliver(open().consumer, 'a 2', 'a 5')
  expect(await effects()).toEqual(['a 1', 'a 2', 'a 3', 'a 4', 'a 5'])
  expect(await held(process)).toEqual([])
})

test('a message that waits too long for a missing one is parked and reported, and can be redriven all the same', async () => {
  const process = open({ gapMs: 1 })
  await deliver(process.consumer, 'a 2', 'a 3')
  process.timers.start()
  await eventually(async () => expect(await held(process)).toEqual(['a 2 parked gap', 'a 3 queued behind']))
  await process.timers.stop()
  await process.deadLetters.redrive(await idOf(process, 'a 2'), { by: 'test' })
  expect(await effects()).toEqual(['a 2', 'a 3'])
})

test('what may follow is found by the timer when the process that was to let it follow has died', async () => {
  const process = open({ gapMs: 1 })
  await deliver(process.consumer, 'a 2')
  await schema.owner.run(`update orders.inbox_keys set sequence = 1`)
  process.timers.start()
  await eventually(async () => expect(await effects()).toEqual(['a 2']))
  await process.timers.stop()
})

test('what is queued follows a message that was skipped by a process which died right after', async () => {
  const process = open()
  refused.add('a 1')
  await deliver(process.consumer, 'a 1', 'a 2', 'a 3')
  const dying = { ...process.consumer, drain: () => Promise.reject(new Error('It has died.')) }
  const deadLetters = createDeadLetters({ postgres: schema.postgres, consumers: [dying] })
  await thrownBy(deadLetters.skip(await idOf(process, 'a 1'), { by: 'test' }))
  expect(await held(process)).toEqual(['a 2 queued behind', 'a 3 queued behind'])
  process.timers.start()
  await eventually(async () => expect(await effects()).toEqual(['a 2', 'a 3']))
  await process.timers.stop()
})

test('another message with a sequence that has passed is kept for an operator, has no effect and blocks nothing', async () => {
  const process = open()
  await deliver(process.consumer, 'a 1', 'a 2')
  await deliver(process.consumer, 'a 1', 'a 3')
  expect(await effects()).toEqual(['a 1', 'a 2', 'a 3'])
  expect(await held(process)).toEqual(['a 1 parked step-back'])
})

test('a restatement is applied although messages before it are missing, and what follows it is too', async () => {
  const process = open()
  await deliver(process.consumer, 'a 1', 'a 4!', 'a 5')
  expect(await effects()).toEqual(['a 1', 'a 4', 'a 5'])
  expect(await held(process)).toEqual([])
})

test('a restatement lets follow what waits for a message that is lost, in its order', async () => {
  const process = open()
  await deliver(process.consumer, 'a 1', 'a 3', 'a 6')
  await deliver(process.consumer, 'a 9!', 'a 10')
  expect(await effects()).toEqual(['a 1', 'a 3', 'a 6', 'a 9', 'a 10'])
  expect(await held(process)).toEqual([])
})

test('a restatement answers for the operator who was asked about a lost message, and for nothing else', async () => {
  const process = open({ gapMs: 1 })
  refused.add('b 1')
  await deliver(process.consumer, 'a 2', 'b 1')
  process.timers.start()
  await eventually(async () => expect(await held(process)).toContain('a 2 parked gap'))
  await process.timers.stop()
  await deliver(process.consumer, 'a 3!', 'b 3!')
  expect(await effects()).toEqual(['a 2', 'a 3'])
  expect(await held(process)).toEqual(['b 1 parked refused', 'b 3 queued behind'])
})

test('what a restatement lets follow is found by the timer when the process that was to do it has died', async () => {
  const process = open({ gapMs: 1 })
  await deliver(process.consumer, 'a 2')
  await schema.owner
    .run(`insert into orders.dead_letters (id, consumer, topic, key, message_id, type, headers, value, code, error,
      attempts, status, position, sequence)
    select gen_random_uuid(), consumer, topic, key, gen_random_uuid(), '${countRestated.type}',
      (headers::jsonb || '{"ce_type": "${countRestated.type}", "ce_sequence": "4"}')::json, value, 'behind', '', 0, 'queued', 'elsewhere', 4
    from orders.dead_letters`)
  process.timers.start()
  await eventually(async () => expect(await effects()).toEqual(['a 2', 'a 4']))
  await process.timers.stop()
})

test('the same messages at once in several processes are applied once and in their order', async () => {
  const names = Array.from({ length: 20 }, (_, index) => `a ${index + 1}`)
  const records = names.map((_, index) => recordOf(counted(keyOf('a'), index + 1, { count: index })))
  await Promise.all(
    Array.from({ length: 4 }, (_, index) => open().consumer.handle(batchOf(records.slice(index * 2), { offset }))),
  )
  await open().consumer.handle(batchOf(records, { offset }))
  expect(await effects()).toEqual(names)
  expect(await held(open())).toEqual([])
})

test('a redrive of what is older than the memory of the inbox is refused unless it is forced', async () => {
  const process = open()
  refused.add('a 1')
  await deliver(process.consumer, 'a 1')
  refused.clear()
  await schema.owner.run(`update orders.dead_letters set parked_at = now() - interval '9 days'`)
  const id = await idOf(process, 'a 1')
  expect(await thrownBy(process.deadLetters.redrive(id, { by: 'test' }))).toMatchObject({ code: 'too-old' })
  await process.deadLetters.redrive(id, { by: 'test', force: true })
  expect(await effects()).toEqual(['a 1'])
})

test('a key that was there before the consumer may begin anywhere, and goes on without a gap', async () => {
  await schema.owner.run(`update orders.inbox_consumers set joined_at = now() + interval '1 hour'`)
  const process = open()
  await deliver(process.consumer, 'a 5', 'a 6', 'a 8')
  expect(await effects()).toEqual(['a 5', 'a 6'])
  expect(await held(process)).toEqual(['a 8 waiting gap'])
  await schema.owner.run('delete from orders.inbox_consumers')
})
