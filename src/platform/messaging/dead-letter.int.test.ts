import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { type TestSchema, testSchema } from '../../test/database.ts'
import { batchOf, counted, noBroker, recordOf, silent } from '../../test/messaging.ts'
import { messageThrownBy, thrownBy } from '../../test/thrown.ts'
import { DomainError } from '../errors.ts'
import { type Consumer, createConsumer, onEach } from './consumer.ts'
import { type DeadLetters, createDeadLetters } from './dead-letter.ts'
import { createOutbox } from './outbox.ts'

setDefaultTimeout(60_000)

let schema: TestSchema
let consumer: Consumer
let deadLetters: DeadLetters
let failing = true

beforeAll(async () => {
  schema = await testSchema('create table effects (message_id text not null)')
  const outbox = createOutbox<'orders'>({
    source: 'orders',
    postgres: schema.postgres,
    newId: () => Bun.randomUUIDv7(),
    now: () => new Date(),
    committed: () => undefined,
  })
  consumer = createConsumer<'orders'>({
    module: 'orders',
    definition: {
      topic: counted.topic,
      handlers: [
        onEach(counted, async ({ tx, emit }, { id, subject }) => {
          await tx.execute(sql`insert into effects values (${id})`)
          emit(counted(subject, 2, { count: 2 }))
          if (failing) throw new DomainError('not-yet', 'It cannot be done yet.')
        }),
      ],
    },
    postgres: schema.postgres,
    outbox,
    broker: noBroker,
    log: silent,
    committed: () => undefined,
  })
  deadLetters = createDeadLetters({ postgres: schema.postgres, consumers: [consumer] })
})

beforeEach(async () => {
  failing = true
  await schema.owner.script(
    'truncate orders.effects, orders.inbox, orders.outbox, orders.dead_letters, orders.inbox_keys',
  )
})

afterAll(() => schema.close())

const effects = async () => (await schema.owner.run('select message_id from orders.effects')).length
const emitted = async () => (await schema.owner.run('select id from orders.outbox')).length

const parkOne = async (record = recordOf(counted('order-1', 1, { count: 1 }))) => {
  await consumer.handle(batchOf([record], { offset: Math.floor(Math.random() * 1e9) }))
  const letter = (await deadLetters.list()).at(-1)
  if (!letter) throw new Error('Nothing was parked.')
  return { ...letter, record }
}

test('what was parked is listed oldest first, with what it carries', async () => {
  const first = await parkOne()
  const second = await parkOne()
  expect((await deadLetters.list()).map(({ id }) => id)).toEqual([first.id, second.id])
  expect(await deadLetters.list({ limit: 1 })).toHaveLength(1)
  expect(await deadLetters.find(first.id)).toMatchObject({
    consumer: consumer.name,
    key: 'order-1',
    messageId: first.record.id,
    type: 'orders.counted.v1',
    code: 'not-yet',
    error: 'It cannot be done yet.',
    attempts: 1,
    status: 'parked',
    headers: first.record.headers,
    value: '{"count":1}',
    encoding: 'utf8',
  })
  expect(await deadLetters.find(Bun.randomUUIDv7())).toBeUndefined()
})

test('a redrive that succeeds has its effect and its messages once, and is marked', async () => {
  const { id } = await parkOne()
  failing = false
  expect(await deadLetters.redrive(id, { by: 'ada' })).toMatchObject({ status: 'redriven', resolvedBy: 'ada' })
  expect([await effects(), await emitted()]).toEqual([1, 1])
  expect(await deadLetters.list()).toEqual([])
  expect(await deadLetters.list({ all: true })).toHaveLength(1)
})

test('a redrive that fails again leaves the message parked and has no effect', async () => {
  const { id } = await parkOne()
  expect(await messageThrownBy(deadLetters.redrive(id, { by: 'ada' }))).toContain('cannot be done yet')
  expect([await effects(), await emitted()]).toEqual([0, 0])
  expect(await deadLetters.find(id)).toMatchObject({ status: 'parked', resolvedBy: null })
  failing = false
  await deadLetters.redrive(id, { by: 'ada' })
  expect(await effects()).toBe(1)
})

test('two redrives at once have one effect', async () => {
  const { id } = await parkOne()
  // Connections that stand already, so that the three really meet.
  await Promise.all(
    [1, 2, 3].map(() => schema.postgres.transaction(({ run }) => run('select pg_sleep($1::float8)', [0.05]))),
  )
  failing = false
  const outcomes = await Promise.allSettled([
    deadLetters.redrive(id, { by: 'ada' }),
    deadLetters.redrive(id, { by: 'bob' }),
    deadLetters.skip(id, { by: 'eve' }),
  ])
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  expect(
    outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [(outcome.reason as DomainError).code] : [])),
  ).toEqual(['already-resolved', 'already-resolved'])
  expect(await effects()).toBeLessThanOrEqual(1)
})

test('a message that was redriven has no second effect when the broker delivers it again', async () => {
  const { id, record } = await parkOne()
  failing = false
  await deadLetters.redrive(id, { by: 'ada' })
  await consumer.handle(batchOf([record]))
  expect(await effects()).toBe(1)
})

test('a message that was skipped stays without effect and cannot be redriven', async () => {
  const { id } = await parkOne()
  failing = false
  expect(await deadLetters.skip(id, { by: 'ada' })).toMatchObject({ status: 'skipped', resolvedBy: 'ada' })
  expect(await thrownBy(deadLetters.redrive(id, { by: 'ada' }))).toMatchObject({ code: 'already-resolved' })
  expect(await thrownBy(deadLetters.skip(id, { by: 'ada' }))).toMatchObject({ code: 'already-resolved' })
  expect(await effects()).toBe(0)
})

test('a dead letter that does not exist, or whose consumer is gone, is an answer and not a fault', async () => {
  expect(await thrownBy(deadLetters.redrive(Bun.randomUUIDv7(), { by: 'ada' }))).toMatchObject({ code: 'not-found' })
  expect(await thrownBy(deadLetters.skip(Bun.randomUUIDv7(), { by: 'ada' }))).toMatchObject({ code: 'not-found' })
  const { id } = await parkOne()
  expect(
    await thrownBy(createDeadLetters({ postgres: schema.postgres, consumers: [] }).redrive(id, { by: 'ada' })),
  ).toMatchObject({
    code: 'not-handled',
  })
})

test('a record that cannot be decoded is kept byte for byte and stays parked when it is redriven', async () => {
  const bytes = Buffer.from([0, 0xff, 0x7b])
  const record = recordOf(counted('key\0', 1, { count: 1 }))
  await consumer.handle(batchOf([{ ...record, value: bytes, headers: { ...record.headers, other: 'a\0b' } }]))
  const [letter] = await deadLetters.list()
  const id = letter?.id ?? ''
  expect(await deadLetters.find(id)).toMatchObject({
    code: 'undecodable',
    value: bytes.toString('base64'),
    encoding: 'base64',
    messageId: record.id,
  })
  expect(await thrownBy(deadLetters.redrive(id, { by: 'ada' }))).toBeInstanceOf(Error)
  expect(await deadLetters.find(id)).toMatchObject({ status: 'parked' })
})
