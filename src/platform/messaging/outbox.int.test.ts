import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { type TestSchema, testSchema } from '../../test/database.ts'
import { counted, countedOn, pay, trace } from '../../test/messaging.ts'
import { messageThrownBy, thrownBy } from '../../test/thrown.ts'
import { type Outbox, createOutbox, maxMessageBytes, outboxDepth } from './outbox.ts'

setDefaultTimeout(60_000)

let schema: TestSchema
let outbox: Outbox<'orders'>
let woken = 0

beforeAll(async () => {
  schema = await testSchema(`create table counters (
    id text not null, version int not null, constraint counters_pkey primary key (id), constraint counters_version_check check (version < 1000))`)
  outbox = createOutbox({
    source: 'orders',
    emitsTo: [counted.topic.name, pay.topic.name],
    postgres: schema.postgres,
    newId: () => Bun.randomUUIDv7(),
    now: () => new Date('2026-01-02T03:04:05.678Z'),
    committed: () => (woken += 1),
  })
})

afterAll(() => schema.close())

beforeEach(async () => {
  await schema.owner.script('truncate orders.outbox, orders.counters')
  woken = 0
})

const rows = () => schema.owner.run('select * from orders.outbox order by id')
const counters = () => schema.owner.run('select id, version from orders.counters order by id')

test('the state and its messages are one commit, which wakes the relay once', async () => {
  const answer = await outbox.transact(trace())(async (tx, emit) => {
    await tx.execute(sql`insert into counters (id, version) values ('a', 1)`)
    emit(counted('a', 1, { count: 1 }))
    emit(pay('p', 'a', { amount: 5 }))
    return 'answer'
  })
  expect(answer).toBe('answer')
  expect(await counters()).toEqual([{ id: 'a', version: 1 }])
  expect((await rows()).map((row) => [row['type'], row['key'], row['sequence'], row['value']])).toEqual([
    ['orders.counted.v1', 'a', '1', '{"count":1}'],
    ['payments.pay.v1', 'a', null, '{"amount":5}'],
  ])
  const [written] = await schema.owner.run(
    'select count(distinct xmin::text)::int as commits from (select xmin from orders.outbox union all select xmin from orders.counters) as row',
  )
  expect(written).toEqual({ commits: 1 })
  expect(woken).toBe(1)
})

test('a message to a topic that the module does not say it sends to is refused, and nothing is left', async () => {
  const elsewhere = countedOn('test-elsewhere')
  const work = outbox.transact(trace())(async (tx, emit) => {
    await tx.execute(sql`insert into counters (id, version) values ('a', 1)`)
    emit(elsewhere('a', 1, { count: 1 }))
  })
  expect(await messageThrownBy(work)).toBe(
    'orders does not say that it sends to test-elsewhere: add it to `sends` in its index.ts.',
  )
  expect([await counters(), await rows()]).toEqual([[], []])
})

test('work that throws leaves neither the state nor a message, and wakes nobody', async () => {
  const work = outbox.transact(trace())(async (tx, emit) => {
    await tx.execute(sql`insert into counters (id, version) values ('a', 1)`)
    emit(counted('a', 1, { count: 1 }))
    throw new Error('on purpose')
  })
  expect(await messageThrownBy(work)).toContain('on purpose')
  expect([await counters(), await rows(), woken]).toEqual([[], [], 0])
})

test('a message that the outbox refuses takes the state with it', async () => {
  const work = outbox.transact(trace())(async (tx, emit) => {
    await tx.execute(sql`insert into counters (id, version) values ('a', 1)`)
    emit(counted('a', 1, { count: 1, note: 'a NUL \0 is no text to Postgres, and this key neither' }))
    emit({ ...counted('b\0', 1, { count: 1 }) })
  })
  expect(await thrownBy(work)).toBeInstanceOf(Error)
  expect([await counters(), await rows(), woken]).toEqual([[], [], 0])
})

test('a message that the broker would refuse is refused before the commit', async () => {
  const note = 'é'.repeat(maxMessageBytes / 2)
  const work = outbox.transact(trace())(async (tx, emit) => {
    await tx.execute(sql`insert into counters (id, version) values ('a', 1)`)
    emit(counted('a', 1, { count: 1, note }))
  })
  expect(await messageThrownBy(work)).toContain('larger than')
  expect([await counters(), await rows(), woken]).toEqual([[], [], 0])
  await outbox.transact(trace())((_, emit) => {
    emit(counted('a', 1, { count: 1, note: note.slice(0, 100_000) }))
    return Promise.resolve()
  })
  expect(await rows()).toHaveLength(1)
})

const change = (writer: number) =>
  outbox
    .transact(trace())(async (tx, emit) => {
      await tx.execute(sql`select ${writer}::int`)
      const [row] = (await tx.execute(
        sql`update counters set version = version + 1 where id = 'a' returning version`,
      )) as unknown as [[number]]
      const [version] = row
      if (writer % 7 === 0) throw new Error('on purpose')
      if (writer % 3 === 0) await tx.execute(sql`select pg_sleep(0.003)`)
      emit(counted('a', version, { count: version }))
    })
    .catch(() => undefined)

test('the messages of one aggregate have the order of its changes, whoever writes and however long', async () => {
  await schema.owner.script(`insert into orders.counters values ('a', 0)`)
  await Promise.all(
    Array.from({ length: 20 }, async (_, writer) => {
      for (let round = 0; round < 5; round += 1) await change(writer * 5 + round)
    }),
  )
  const sequences = (await rows()).map((row) => Number(row['sequence']))
  expect(sequences).toEqual(Array.from({ length: 85 }, (_, index) => index + 1))
})

test('a message keeps the names of its story', async () => {
  const given = { ...trace(), traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }
  await outbox.transact(given)((_, emit) => {
    emit(counted('a', 1, { count: 1 }))
    return Promise.resolve()
  })
  const [row] = await rows()
  expect(row).toMatchObject({
    correlation_id: given.correlationId,
    causation_id: given.causationId,
    traceparent: given.traceparent,
    source: 'orders',
    subject: 'a',
    occurred_at: '2026-01-02T03:04:05.678Z',
  })
})

test('what waits is counted, with the time of the oldest', async () => {
  expect(await outboxDepth(schema.postgres.run)).toEqual({ waiting: 0, oldest: undefined })
  await outbox.transact(trace())((_, emit) => {
    emit(counted('a', 1, { count: 1 }))
    emit(counted('a', 2, { count: 2 }))
    return Promise.resolve()
  })
  expect(await outboxDepth(schema.postgres.run)).toEqual({ waiting: 2, oldest: new Date('2026-01-02T03:04:05.678Z') })
})
