import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { type TestSchema, testSchema } from '../../test/database.ts'
import { eventually } from '../../test/eventually.ts'
import { watched } from '../../test/mechanism.ts'
import { countedOn, newTopic, recordOf, testBroker } from '../../test/messaging.ts'
import { messageThrownBy } from '../../test/thrown.ts'
import { textArray } from '../postgres.ts'
import type { Broker } from './kafka.ts'
import { createTakeover } from './takeover.ts'

setDefaultTimeout(120_000)

let schema: TestSchema
let broker: Broker

beforeAll(async () => {
  schema = await testSchema('create table effects (message_id text not null, pid int not null)')
  broker = testBroker(schema.services, 1_000)
})

beforeEach(() =>
  schema.owner.script('truncate orders.effects, orders.inbox, orders.dead_letters, orders.inbox_partitions'),
)

afterAll(() => schema.close())

const consume = (topic: string) =>
  Bun.spawn(
    [
      process.execPath,
      join(import.meta.dir, '../../test/killing-message.ts'),
      schema.services.KAFKA_BROKERS,
      schema.url,
      topic,
    ],
    { stdout: 'inherit', stderr: 'inherit' },
  )

const effectsOf = async (ids: string[]) => {
  const rows = await schema.owner.run(
    'select message_id from orders.effects where message_id = any ($1::text[]) order by message_id',
    [textArray(ids)],
  )
  return rows.map((row) => String(row['message_id']))
}

const heldOn = (topic: string) =>
  schema.owner.run(
    'select message_id, status, code, attempts from orders.dead_letters where topic = $1 order by place',
    [topic],
  )

test('a message that kills its process is parked after its second crash, and its partition goes on', async () => {
  const topic = await newTopic(broker, 1)
  const counted = countedOn(topic)
  const sequenceOf = (key: string, sequence: number, count: number) => recordOf(counted(key, sequence, { count }))
  const before = Array.from({ length: 3 }, () => sequenceOf(Bun.randomUUIDv7(), 1, 1))
  const key = Bun.randomUUIDv7()
  const killer = sequenceOf(key, 1, -1)
  const behind = sequenceOf(key, 2, 1)
  const after = Array.from({ length: 3 }, () => sequenceOf(Bun.randomUUIDv7(), 1, 1))
  const producer = broker.producer()
  await producer.send([...before, killer, behind, ...after])
  await producer.close()

  for (const neighboursBefore of [0, 3]) {
    const crashed = consume(topic)
    await crashed.exited
    expect(crashed.signalCode).toBe('SIGKILL')
    // The first crash takes all that was handled together with it, the second what is the killer's alone.
    expect(await effectsOf(before.map(({ id }) => id))).toHaveLength(neighboursBefore)
  }
  const survivor = consume(topic)
  const neighbours = [...before, ...after].map(({ id }) => id).toSorted()
  await eventually(async () => {
    expect(survivor.exitCode).toBeNull()
    expect(await effectsOf(neighbours)).toEqual(neighbours)
  }, 60_000)
  survivor.kill('SIGKILL')
  await survivor.exited
  expect(await heldOn(topic)).toEqual([
    { message_id: killer.id, status: 'parked', code: 'crash', attempts: 2 },
    { message_id: behind.id, status: 'queued', code: 'behind', attempts: 0 },
  ])
  expect(await effectsOf([killer.id, behind.id])).toEqual([])
})

test('a message that is in hand whenever somebody kills the process has its effect, and is not taken for the killer', async () => {
  const topic = await newTopic(broker, 1)
  const innocent = recordOf(countedOn(topic)(Bun.randomUUIDv7(), 1, { count: 0 }))
  const producer = broker.producer()
  await producer.send([innocent])
  await producer.close()

  const first = consume(topic)
  await eventually(async () => expect(await inHand()).toBe(1), 60_000)
  first.kill('SIGKILL')
  await first.exited
  const second = consume(topic)
  await eventually(async () => expect(await begun()).toBe(innocent.id), 60_000)
  second.kill('SIGKILL')
  await second.exited
  const third = consume(topic)
  await eventually(async () => expect(await effectsOf([innocent.id])).toEqual([innocent.id]), 60_000)
  third.kill('SIGKILL')
  await third.exited
  expect(await heldOn(topic)).toEqual([])
})

/** How many transactions stand open behind the effect of a message, which is where one takes for ever. */
const inHand = async () => {
  const [row] = await schema.owner.run(
    `select count(*)::int as count from pg_stat_activity
      where application_name = 'test-killing' and state = 'idle in transaction' and query like 'insert into effects%'`,
  )
  return row?.['count']
}

const name = 'orders.test'

/** A consumer's view of a partition, which ends at offset 5, and what it asks of the database. */
const takeoverOf = (partitions: number[], inHand = 500) => {
  const postgres = watched(schema.postgres)
  const ends = () => Promise.resolve(new Map(partitions.map((partition) => [partition, 5n])))
  const takeover = createTakeover({ name, postgres, inHand, ends })
  takeover.given(partitions)
  return { ...takeover, seen: postgres.seen }
}

const at = (offset: number, partition = 0) => `topic/${partition}/${offset}`
const suspect = (offset: number) => ({ position: at(offset), id: `message ${offset}` })

test('a consumer that was given partitions in order asks the database nothing more about them', async () => {
  const first = takeoverOf([0, 1])
  await first.begin()
  expect(first.seen.transactions).toBe(1)
  for (const offset of [1, 2, 3]) {
    await first.begin()
    expect(first.isSuspect(at(offset))).toBe(false)
    await first.alone(suspect(offset), () => Promise.resolve(true))
  }
  expect(first.seen.transactions).toBe(1)
  expect(first.isWary()).toBe(false)
})

test('what is left in order makes nobody wary, what a dead process left does, as far as it may have come', async () => {
  const first = takeoverOf([0, 1])
  await first.begin()
  await first.end()
  const second = takeoverOf([0, 1])
  await second.begin()
  expect(second.isWary()).toBe(false)

  const third = takeoverOf([0], 2)
  await third.begin()
  expect([at(4), at(5), at(4, 1)].map(third.isSuspect)).toEqual([true, false, false])

  const fourth = takeoverOf([0], 2)
  await fourth.begin()
  // One that had been handled already cannot have been in hand.
  for (const [offset, isNew] of [false, true, true].entries())
    await fourth.alone(suspect(offset), () => Promise.resolve(isNew))
  expect(fourth.isSuspect(at(3))).toBe(false)
})

test('a message is accused when a process has died with it alone, and not when it waited for another try', async () => {
  const first = takeoverOf([0])
  await first.begin()
  const second = takeoverOf([0])
  await second.begin()
  expect(second.deathsWith(suspect(2))).toBe(0)
  void second.alone(suspect(2), () => new Promise(() => undefined))
  await eventually(async () => expect(await begun()).toBe('message 2'))

  const third = takeoverOf([0])
  await third.begin()
  expect([1, 2, 3].map((offset) => third.deathsWith(suspect(offset)))).toEqual([0, 1, 0])
  // It dies as well, while it has the message tried.
  void third.trying(suspect(2), () => new Promise(() => undefined))
  await eventually(async () => expect(await times()).toBe(2))

  const fourth = takeoverOf([0])
  await fourth.begin()
  expect(fourth.deathsWith(suspect(2))).toBe(2)
  expect(await fourth.trying(suspect(2), () => Promise.resolve('untried'))).toBe('untried')
  expect([await begun(), await times()]).toEqual(['message 2', 2])
  const failing = fourth.alone(suspect(3), () => Promise.reject(new Error('on purpose')))
  expect(await messageThrownBy(failing)).toBe('on purpose')
  expect(await begun()).toBeNull()
  // A topic that was made anew has another message in the same place.
  expect(fourth.deathsWith({ position: at(2), id: 'another' })).toBe(0)

  const fifth = takeoverOf([0])
  await fifth.begin()
  expect([2, 3].map((offset) => fifth.deathsWith(suspect(offset)))).toEqual([0, 0])
})

const times = async () =>
  (await schema.owner.run('select times from orders.inbox_partitions where partition = 0'))[0]?.['times']

const begun = async () =>
  (await schema.owner.run('select begun from orders.inbox_partitions where partition = 0'))[0]?.['begun']

test('what a process that goes on living gives up before it is through stays under suspicion', async () => {
  const first = takeoverOf([0, 1])
  await first.begin()
  const second = takeoverOf([0, 1])
  await second.begin()
  expect(second.isSuspect(at(7, 1))).toBe(false)
  second.passed([at(0), at(7, 1)])
  second.lost()
  await second.end()
  const third = takeoverOf([0, 1])
  await third.begin()
  expect([at(1), at(1, 1)].map(third.isSuspect)).toEqual([true, false])
})
