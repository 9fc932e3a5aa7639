import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { type TestSchema, testSchema } from '../test/database.ts'
import { eventually } from '../test/eventually.ts'
import { outboxOn, watched } from '../test/mechanism.ts'
import { batchOf, counted, noBroker, recordOf, silent } from '../test/messaging.ts'
import { createConsumer, onEach } from './messaging/consumer.ts'
import { type Pruning, createPruner, lowestIdAt, prune, pruningStep, prunings, runStep } from './retention.ts'

setDefaultTimeout(120_000)

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const all = prunings({ inboxMs: 8 * dayMs, answersMs: 2 * dayMs, endedMs: 30 * dayMs })

let schema: TestSchema

beforeAll(async () => {
  schema = await testSchema('create table effects (key text not null)')
})

beforeEach(() =>
  schema.owner.script(
    `truncate orders.effects, orders.inbox, orders.inbox_keys, orders.outbox, orders.idempotency_keys, orders.sagas,
      orders.saga_history, orders.jobs, orders.job_tasks, orders.dead_letters, orders.timers`,
  ),
)

afterAll(() => schema.close())

/** An id that begins with the time so many days ago. */
const idOf = (days: number) => `${lowestIdAt(Date.now() - days * dayMs).slice(0, 20)}${Bun.randomUUIDv7().slice(20)}`

const ago = (days: number) => new Date(Date.now() - days * dayMs).toISOString()

const pruneAll = async (limit = 1_000, postgres = schema.postgres) => {
  let gone = 0
  for (const pruning of all) gone += await prune(pruning, { postgres, now: Date.now(), limit })
  return gone
}

const column = async (statement: string): Promise<string[]> =>
  (await schema.owner.run(statement)).map((row) => String(row['value']))

const received = async (consumer: string, id: string, days: number) => {
  await schema.owner.run('insert into orders.inbox (consumer, message_id, received_at) values ($1, $2, $3)', [
    consumer,
    id,
    ago(days),
  ])
  return id
}

const inbox = () => column('select message_id as value from orders.inbox order by 1')

describe('the inbox forgets', () => {
  test('what each consumer received longer ago than the window, one that no longer runs included, and nothing younger', async () => {
    const kept: string[] = []
    for (const consumer of ['orders.a', 'orders.b', 'orders.gone']) {
      for (const days of [9, 8.01, 400]) await received(consumer, idOf(days), days)
      for (const days of [0, 1, 7.99]) kept.push(await received(consumer, idOf(days), days))
    }
    expect(await pruneAll()).toBe(9)
    expect(await inbox()).toEqual(kept.toSorted())
  })

  test('nothing that it received lately, however old the message', async () => {
    const id = await received('orders.a', idOf(20), 1)
    expect(await pruneAll()).toBe(0)
    expect(await inbox()).toEqual([id])
  })

  test('ids that do not begin with a time by when they came', async () => {
    const ids = ['00000000-0000-4000-8000-000000000001', 'ffffffff-ffff-4fff-bfff-ffffffffffff']
    for (const id of ids) await received('orders.old', id, 9)
    for (const id of ids) await received('orders.young', id, 7)
    expect(await pruneAll()).toBe(2)
    expect(await column('select consumer as value from orders.inbox')).toEqual(['orders.young', 'orders.young'])
  })
})

test('a redelivery within the window has no second effect after a round', async () => {
  const consumer = createConsumer<'orders'>({
    module: 'orders',
    definition: {
      topic: counted.topic,
      handlers: [
        onEach(counted, async ({ tx }, { key }) => {
          await tx.execute(sql`insert into effects (key) values (${key})`)
        }),
      ],
    },
    postgres: schema.postgres,
    outbox: outboxOn(schema.postgres),
    broker: noBroker,
    log: silent,
    committed: () => undefined,
  })
  const record = recordOf(counted('a', 1, { count: 1 }), idOf(7.9))
  await consumer.handle(batchOf([record]))
  await schema.owner.run('update orders.inbox set received_at = $1', [ago(7.9)])
  await pruneAll()
  await consumer.handle(batchOf([record], { offset: 1 }))
  expect(await column('select key as value from orders.effects')).toEqual(['a'])
  expect(await column('select status as value from orders.dead_letters')).toEqual([])
})

test('answers under an Idempotency-Key are forgotten by their age', async () => {
  for (const [key, days] of Object.entries({ old: 2.01, young: 1.99, new: 0 })) {
    await schema.owner.run(
      `insert into orders.idempotency_keys (user_id, route, key, request_hash, status, body, consistency, created_at)
        values ($1, 'r', $2, 'h', 200, '{}', '', $3)`,
      [idOf(0), key, ago(days)],
    )
  }
  expect(await pruneAll()).toBe(1)
  expect(await column('select key as value from orders.idempotency_keys order by 1')).toEqual(['new', 'young'])
})

const saga = async (status: string, startedDays: number, changedDays: number) => {
  const id = idOf(startedDays)
  await schema.owner.run(
    `with saga as (
      insert into orders.sagas (id, name, reply_key, status, state, version, correlation_id, created_at, updated_at)
      values ($1::uuid, 'checkout', $1::uuid::text, $2, '{}', 1, 'c', $3, $4::timestamptz) returning id
    ) insert into orders.saga_history (saga_id, version, at, status, heard) select id, 1, $4::timestamptz, $2, '[]' from saga`,
    [id, status, ago(startedDays), ago(changedDays)],
  )
  return id
}

test('sagas that have ended go with their history by when they ended; one that has not ended stays', async () => {
  for (const status of ['completed', 'compensated']) await saga(status, 60, 31)
  const kept = [await saga('completed', 60, 29), await saga('compensated', 20, 19)]
  for (const status of ['running', 'compensating', 'needs-operator']) kept.push(await saga(status, 400, 399))
  expect(await pruneAll()).toBe(2)
  expect(await column('select id as value from orders.sagas order by 1')).toEqual(kept.toSorted())
  expect(await column('select saga_id as value from orders.saga_history order by 1')).toEqual(kept.toSorted())
})

test('jobs that have ended go with their tasks; one that runs stays', async () => {
  const job = async (status: string, days: number) => {
    const id = idOf(days)
    const ended = status === 'running' ? 0 : 1
    await schema.owner.run(
      `with job as (
        insert into orders.jobs (id, kind, status, data, total, done, failed, version, created_at)
        values ($1, 'settlement', $2, '{}', 1, $3, 0, 1, $4) returning id
      ) insert into orders.job_tasks (job_id, task, status) select id, 0, 'done' from job`,
      [id, status, ended, ago(days)],
    )
    return id
  }
  for (const status of ['completed', 'failed']) await job(status, 31)
  const kept = [await job('completed', 29), await job('running', 400)]
  expect(await pruneAll()).toBe(2)
  expect(await column('select id as value from orders.jobs order by 1')).toEqual(kept.toSorted())
  expect(await column('select job_id as value from orders.job_tasks order by 1')).toEqual(kept.toSorted())
})

test('dead letters go by when they were resolved; what is parked, waits or is queued stays, whatever its age', async () => {
  const letter = async (status: string, parkedDays: number, resolvedDays: number | null) => {
    const id = idOf(parkedDays)
    await schema.owner.run(
      `insert into orders.dead_letters (id, consumer, topic, key, headers, value, code, error, attempts, status, parked_at,
          resolved_at, position)
        values ($1::uuid, 'orders.a', 't', 'k', '{}', '', 'fault', 'e', 1, $2, $3, $4, $1::uuid::text)`,
      [id, status, ago(parkedDays), resolvedDays === null ? null : ago(resolvedDays)],
    )
    return id
  }
  for (const status of ['redriven', 'skipped']) await letter(status, 60, 31)
  const kept = [await letter('redriven', 60, 29), await letter('skipped', 10, 9)]
  for (const status of ['parked', 'waiting', 'queued']) kept.push(await letter(status, 400, null))
  expect(await pruneAll()).toBe(2)
  expect(await column('select id as value from orders.dead_letters order by 1')).toEqual(kept.toSorted())
})

test('no transaction deletes more than its limit, and a stop ends between two of them', async () => {
  await schema.owner.script(
    `insert into orders.inbox select 'orders.a', ('017f0000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid, now() - interval '20 days'
      from generate_series(1, 95) as i`,
  )
  const [pruning] = all as [Pruning]
  const left: number[] = []
  const stopped = () => left.length === 3
  const postgres: typeof schema.postgres = {
    ...schema.postgres,
    transaction: async (work) => {
      const result = await schema.postgres.transaction(work)
      left.push((await inbox()).length)
      return result
    },
  }
  const options = { postgres, now: Date.now(), limit: 10 }
  expect(await prune(pruning, { ...options, stopped })).toBe(30)
  expect(left).toEqual([85, 75, 65])
  expect(await prune(pruning, options)).toBe(65)
})

test('the snapshots of what goes are let go of before it is, so that a repeat finds what was interrupted', async () => {
  const id = await saga('completed', 60, 31)
  const asked: string[][] = []
  const sagas = all.filter(({ name }) => name === 'sagas') as [Pruning]
  const options = { postgres: schema.postgres, now: Date.now(), limit: 10 }
  const away = async (_: unknown, ids: string[]) => {
    asked.push(ids)
    throw new Error('Redis is away.')
  }
  await prune(sagas[0], { ...options, forget: away }).catch(() => undefined)
  expect(await column('select id as value from orders.sagas')).toEqual([id])
  expect(await prune(sagas[0], { ...options, forget: async (_, ids) => void asked.push(ids) })).toBe(1)
  expect(asked).toEqual([[id], [id]])
})

const rollBack = new Error('on purpose')

type Plan = { 'Shared Hit Blocks': number; 'Shared Read Blocks': number; 'Actual Rows': number; Plans?: Plan[] }

/** The pages that one step reads; it is rolled back. */
const pagesOf = async (pruning: Pruning, after: string | undefined): Promise<number> => {
  let pages = 0
  const work = schema.postgres.transaction(async ({ run }) => {
    const step = pruningStep(pruning, { before: Date.now() - pruning.ageMs, after, limit: 1_000, part: 'orders.a' })
    const explaining: typeof run = async (text, parameters) =>
      run(text.startsWith('with gone') ? `explain (analyze, buffers, format json) ${text}` : text, parameters)
    await runStep(async (text, parameters) => {
      const rows = await explaining(text, parameters)
      const [plan] = Object.values(rows[0] ?? {})
      if (text.startsWith('with gone')) {
        const [{ Plan: root }] = JSON.parse(String(plan)) as [{ Plan: Plan }]
        pages = root['Shared Hit Blocks'] + root['Shared Read Blocks']
      }
      return []
    }, step)
    throw rollBack
  })
  await work.catch((error: unknown) => {
    if (error !== rollBack) throw error
  })
  return pages
}

test('a step reads as little when 900,000 of 1,000,000 old rows are gone, and the index does not grow', async () => {
  const [pruning] = all as [Pruning]
  const fill = (first: number, last: number) =>
    schema.owner.script(
      `insert into orders.inbox select 'orders.a', ('017f0000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid,
        now() - interval '20 days' from generate_series(${first}, ${last}) as i`,
    )
  const indexBytes = async () => Number((await column(`select pg_relation_size('orders.inbox_pkey') as value`))[0])
  // Nobody has told the planner what the table holds.
  await schema.owner.script('alter table orders.inbox set (autovacuum_enabled = off)')
  await fill(1, 1_000_000)
  const first = await pagesOf(pruning, undefined)
  let steps = 0
  const stopped = () => (steps += 1) > 900
  const options = { postgres: schema.postgres, now: Date.now(), limit: 1_000 }
  expect(await prune(pruning, { ...options, stopped })).toBe(900_000)
  const [last] = await column(`select '017f0000-0000-7000-8000-000000900000' as value`)
  expect(first).toBeLessThan(4_000)
  expect(await pagesOf(pruning, last)).toBeLessThan(first * 1.2)
  const before = await indexBytes()
  await schema.owner.script('vacuum orders.inbox')
  // A new round begins at the lowest id again.
  expect(await pagesOf(pruning, undefined)).toBeLessThan(first * 1.2)
  // A page that a vacuum emptied is free for the next once nobody can be on his way to it.
  await schema.owner.run('select pg_current_xact_id()')
  await schema.owner.script('vacuum orders.inbox')
  await fill(1_000_001, 1_900_000)
  expect(await indexBytes()).toBeLessThan(before * 1.05)
})

test('a pruner does nothing while its process starts, and asks less than once a second after that', async () => {
  await received('orders.a', idOf(9), 9)
  const postgres = watched(schema.postgres)
  const pruner = createPruner({ postgres, log: silent, prunings: all, everyMs: 1_000 })
  pruner.start()
  const startedAt = performance.now()
  await eventually(async () => expect(await inbox()).toEqual([]))
  expect(performance.now() - startedAt).toBeGreaterThan(490)
  await pruner.stop()
  // In ten minutes, for each of three modules.
  const before = postgres.seen.statements
  await pruneAll(1_000, postgres)
  expect((3 * (postgres.seen.statements - before)) / 600).toBeLessThan(0.2)
})
