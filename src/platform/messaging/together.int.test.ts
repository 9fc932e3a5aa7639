import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { DomainError, UnavailableError, orRefusal } from '#platform/errors'
import type { Postgres } from '#platform/postgres'
import { sleep } from '#platform/retry'
import { type TestSchema, testSchema } from '../../test/database.ts'
import { counted, trace } from '../../test/messaging.ts'
import { createOutbox } from './outbox.ts'
import { type ForAll, createTogether, unlessRefused } from './together.ts'

setDefaultTimeout(60_000)

let schema: TestSchema
let woken = 0
let sizes: number[] = []

beforeAll(async () => {
  schema = await testSchema(`create table counters (
    id text not null, version int not null, constraint counters_pkey primary key (id), constraint counters_version_check check (version < 1000))`)
})

afterAll(() => schema.close())

beforeEach(async () => {
  await schema.owner.script('truncate orders.outbox, orders.counters')
  woken = 0
  sizes = []
})

const open = (postgres: Pick<Postgres, 'transaction'> = schema.postgres) => {
  const parts = { postgres, committed: () => (woken += 1) }
  const outbox = createOutbox<'orders'>({
    source: 'orders',
    newId: () => Bun.randomUUIDv7(),
    now: () => new Date(),
    ...parts,
  })
  return createTogether<'orders'>({ source: 'orders', outbox, ...parts })
}

type Count = { id: string; version: number }

/** Counts each; version 0 is refused, and one of a thousand is more than the table takes. */
const count: ForAll<'orders', Count, string> = ({ run }, members) => {
  sizes.push(members.length)
  const judged = members.map((member) =>
    orRefusal(() => {
      if (member.request.version === 0) throw new DomainError('nothing', 'There is nothing to count.')
      return member
    }),
  )
  return unlessRefused(judged, async (accepted) => {
    for (const { request, emit } of accepted) {
      const { id, version } = request
      await run('insert into counters (id, version) values ($1, $2)', [id, version])
      emit(counted(id, version, { count: version }))
    }
    return accepted.map(({ request }) => `${request.id} is ${request.version}`)
  })
}

const outcomes = (asked: Promise<string>[]) =>
  Promise.all(asked.map((one) => one.catch((error: unknown) => (error instanceof Error ? error.message : error))))

const ids = async () => (await schema.owner.run('select id from orders.counters order by id')).map((row) => row['id'])

const commits = async () => {
  const [row] = await schema.owner.run('select count(distinct xmin::text)::int as commits from orders.counters')
  return row?.['commits']
}

test('requests of one moment share a transaction, and each has its own answer and its own story', async () => {
  const together = open()
  const stories = Array.from({ length: 20 }, () => trace())
  const asked = stories.map((story, at) => together(story)(count, { id: `c${at}`, version: at + 1 }))
  expect(await outcomes(asked)).toEqual(stories.map((_, at) => `c${at} is ${at + 1}`))
  expect(sizes).toEqual([20])
  expect([await commits(), woken]).toEqual([1, 1])
  const told = await schema.owner.run('select key, correlation_id from orders.outbox order by id')
  expect(told).toEqual(stories.map(({ correlationId }, at) => ({ key: `c${at}`, correlation_id: correlationId })))
})

test('what comes while a transaction is under way shares the next, and no transaction has more than fifty', async () => {
  const together = open()
  const asked = Array.from({ length: 120 }, (_, at) => together(trace())(count, { id: `c${at}`, version: 1 }))
  await Promise.all(asked)
  expect(sizes).toEqual([50, 50, 20])
  expect(await commits()).toBe(3)
})

test('one that is refused has its refusal, and the others are done', async () => {
  const together = open()
  const asked = [1, 0, 2].map((version, at) => together(trace())(count, { id: `c${at}`, version }))
  expect(await outcomes(asked)).toEqual(['c0 is 1', 'There is nothing to count.', 'c2 is 2'])
  expect(await ids()).toEqual(['c0', 'c2'])
  expect(sizes).toEqual([3])
})

test('one that makes their transaction fail has the error alone, and the others are done by themselves', async () => {
  const together = open()
  const asked = [1, 1_000, 2].map((version, at) => together(trace())(count, { id: `c${at}`, version }))
  expect(await outcomes(asked)).toEqual(['c0 is 1', expect.stringContaining('counters_version_check'), 'c2 is 2'])
  expect(await ids()).toEqual(['c0', 'c2'])
  expect(sizes).toEqual([3, 1, 1, 1])
  expect((await schema.owner.run('select key from orders.outbox order by key')).map((row) => row['key'])).toEqual([
    'c0',
    'c2',
  ])
})

test('one that waits too long for a lock has the error alone, and the others are done by themselves', async () => {
  const locked = Promise.withResolvers<void>()
  const released = new AbortController()
  const holding = schema.postgres.transaction(async ({ run }) => {
    await run(`insert into counters (id, version) values ('c1', 1)`)
    locked.resolve()
    // A transaction that does nothing for long is ended by Postgres.
    for (; !released.signal.aborted; await sleep(500, released.signal)) await run('select 1')
  })
  await locked.promise
  const together = open()
  const asked = [1, 1, 1].map((version, at) => together(trace())(count, { id: `c${at}`, version }))
  const found = await outcomes(asked)
  released.abort()
  await holding
  expect(found).toEqual(['c0 is 1', expect.stringContaining('lock timeout'), 'c2 is 1'])
  expect(sizes).toEqual([3, 1, 1, 1])
  expect(await ids()).toEqual(['c0', 'c1', 'c2'])
})

test('what is kept of each commits with it, and a second under one name is refused without hurting the others', async () => {
  const together = open()
  const keep = (name: string) => () => ({
    text: 'insert into counters (id, version) values ($1, 1)',
    parameters: [name],
  })
  const asked = ['same', 'same', 'other'].map((name, at) =>
    together(trace(), keep(name))(count, { id: `c${at}`, version: 1 }),
  )
  const found = await outcomes(asked)
  expect(found.filter((one) => String(one).includes('counters_pkey'))).toHaveLength(1)
  expect(found[2]).toBe('c2 is 1')
  expect(await ids()).toEqual([expect.stringMatching(/c[01]/), 'c2', 'other', 'same'])
})

test('a commit whose outcome is unknown is not tried again: all are told so', async () => {
  const lost: Pick<Postgres, 'transaction'> = {
    transaction: async (work) => {
      await schema.postgres.transaction(work)
      throw new UnavailableError('The outcome is unknown.')
    },
  }
  const together = open(lost)
  const asked = ['a', 'b'].map((id) => together(trace())(count, { id, version: 1 }))
  expect(await outcomes(asked)).toEqual(['The outcome is unknown.', 'The outcome is unknown.'])
  expect(sizes).toEqual([2])
  expect(await ids()).toEqual(['a', 'b'])
})
