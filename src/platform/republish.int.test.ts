import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { type TestSchema, testSchema } from '../test/database.ts'
import { countRestated, counted, trace } from '../test/messaging.ts'
import { messageThrownBy } from '../test/thrown.ts'
import { createOutbox } from './messaging/outbox.ts'
import type { Tx } from './postgres.ts'
import { type Restating, createRepublish } from './republish.ts'

setDefaultTimeout(60_000)

let schema: TestSchema

beforeAll(async () => {
  schema = await testSchema(
    `create table counters (id text not null, count int not null, version int not null, constraint counters_pkey primary key (id));
     create table others (like counters including all)`,
  )
})

beforeEach(() => schema.owner.script('truncate orders.outbox, orders.restatements, orders.counters, orders.others'))

afterAll(() => schema.close())

const insert = (count: number, table = 'counters') =>
  schema.owner.script(`insert into orders.${table}
    select '${table}-' || to_char(n, 'FM0000'), n, 1 from generate_series(1, ${count}) as n`)

type Row = [id: string, count: number, version: number]

const read = async (tx: Tx, table: string, ids: string[]) =>
  (await tx.execute(
    sql`select id, count, version from ${sql.identifier(table)} where id = any (${`{${ids.join(',')}}`}::text[])`,
  )) as unknown as Row[]

const restatingOf = (table: string): Restating<'orders'> => ({
  thing: table,
  rows: { table, id: 'id', sequence: 'version' },
  events: async (tx, ids) =>
    (await read(tx, table, ids)).map(([id, count, version]) => countRestated(id, version, { count })),
})

const both = [restatingOf('counters'), restatingOf('others')]

const outbox = () =>
  createOutbox<'orders'>({
    source: 'orders',
    postgres: schema.postgres,
    newId: () => Bun.randomUUIDv7(),
    now: () => new Date(),
    committed: () => undefined,
  })

const republishOf = (restating: Restating<'orders'>[] = both) =>
  createRepublish({
    restating,
    run: schema.postgres.run,
    outbox: outbox(),
    newId: () => Bun.randomUUIDv7(),
    stepSize: 10,
  })

const quickly = { perSecond: 1_000_000, raise: 1 }

/** For each key the sequences of its messages, in the order in which they will be sent, each with the count it says. */
const emitted = async (): Promise<Map<string, string[]>> => {
  const rows = await schema.owner.run(
    `select key, array_to_string(array_agg(sequence || ':' || (value::json->>'count') order by id), ' ') as said
      from orders.outbox group by key order by key`,
  )
  return new Map(rows.map((row) => [String(row['key']), String(row['said']).split(' ')]))
}

test('every aggregate is restated once, with the next sequence and what it is', async () => {
  await insert(25)
  await insert(3, 'others')
  expect(await republishOf()(quickly)).toEqual(new Map(Object.entries({ counters: 25, others: 3 })))
  const said = await emitted()
  expect(said.size).toBe(28)
  expect([...said.values()].every(([only, ...more]) => only?.startsWith('2:') && more.length === 0)).toBe(true)
  expect(said.get('counters-0007')).toEqual(['2:7'])
})

test('a second time begins anew, and goes on with the sequences', async () => {
  await insert(12)
  await republishOf()(quickly)
  expect(await republishOf()(quickly)).toEqual(new Map(Object.entries({ counters: 12, others: 0 })))
  expect((await emitted()).get('counters-0012')).toEqual(['2:12', '3:12'])
})

test('what was interrupted goes on where it ended, and what was restated is not again', async () => {
  await insert(25)
  await insert(25, 'others')
  const [counters, others] = both as [Restating<'orders'>, Restating<'orders'>]
  let steps = 0
  const failing: Restating<'orders'> = {
    ...others,
    events: (tx, ids) => {
      steps += 1
      if (steps === 2) throw new Error('on purpose')
      return others.events(tx, ids)
    },
  }
  expect(await messageThrownBy(republishOf([counters, failing])({ ...quickly, raise: 7 }))).toBe('on purpose')
  expect((await emitted()).size).toBe(35)
  const counts: string[] = []
  await republishOf()({ ...quickly, progress: (thing, count) => counts.push(`${thing} ${count}`) })
  expect(counts).toEqual(['others 20', 'others 25'])
  const said = await emitted()
  expect(said.size).toBe(50)
  expect([...said.values()].every(([only, ...more]) => only?.startsWith('8:') && more.length === 0)).toBe(true)
})

test('what was interrupted begins anew when the sequences are to go up by more', async () => {
  await insert(25)
  const failing: Restating<'orders'> = {
    ...restatingOf('counters'),
    events: (tx, ids) => {
      if (ids.includes('counters-0011')) throw new Error('on purpose')
      return restatingOf('counters').events(tx, ids)
    },
  }
  expect(await messageThrownBy(republishOf([failing])(quickly))).toBe('on purpose')
  await republishOf()({ ...quickly, raise: 100 })
  const said = await emitted()
  expect(said.get('counters-0001')).toEqual(['2:1', '102:1'])
  expect(said.get('counters-0025')).toEqual(['101:25'])
})

test('two at once share the work', async () => {
  await insert(200)
  await Promise.all([republishOf()(quickly), republishOf()(quickly)])
  const said = await emitted()
  expect(said.size).toBe(200)
  expect([...said.values()].every((messages) => messages.length === 1)).toBe(true)
  expect(await schema.owner.run('select * from orders.restatements')).toEqual([])
})

test('while others write, each key has every sequence once and in order, and each restatement says what was true then', async () => {
  await insert(60)
  const enough = new AbortController()
  const writers = Array.from({ length: 6 }, async (_, writer) => {
    const transact = outbox().transact(trace())
    for (let at = writer; !enough.signal.aborted; at = (at + 7) % 60) {
      const id = `counters-${String(at + 1).padStart(4, '0')}`
      await transact(async (tx, emit) => {
        const rows = await tx.execute(
          sql`update counters set count = count + 1000, version = version + 1 where id = ${id} returning count, version`,
        )
        for (const [count, version] of rows as unknown as [number, number][]) emit(counted(id, version, { count }))
      })
    }
  })
  for (let round = 0; round < 5; round += 1) await republishOf()(quickly)
  enough.abort()
  await Promise.all(writers)
  const restated = await schema.owner.run(
    `select count(*)::int as count from orders.outbox where type = '${countRestated.type}'`,
  )
  expect(restated).toEqual([{ count: 300 }])
  for (const [key, said] of await emitted()) {
    const start = Number(key.slice(-4))
    expect(said.map((each) => Number(each.split(':')[0]))).toEqual(said.map((_, index) => index + 2))
    // Whatever was said last of the count is what the next one builds on: a write adds 1000, a restatement adds nothing.
    const steps = said.map((each) => (Number(each.split(':')[1]) - start) / 1_000)
    expect(steps).toEqual(steps.toSorted((a, b) => a - b))
  }
})
