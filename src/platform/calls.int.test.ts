import { afterAll, afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { type TestSchema, testSchema } from '../test/database.ts'
import { eventually } from '../test/eventually.ts'
import { door, keptLog, lockWaiters, outboxOn, watched } from '../test/mechanism.ts'
import { counted, silent, trace } from '../test/messaging.ts'
import { messageThrownBy } from '../test/thrown.ts'
import { type CallResult, type CallsOptions, type Finished, type RecordContext, createCalls, onCall } from './calls.ts'
import { isTransient } from './errors.ts'
import type { Postgres } from './postgres.ts'
import { type NewTimer, type Timer, cancelTimer, claimDue, setTimers } from './timers.ts'
import type { Worker } from './worker.ts'

setDefaultTimeout(60_000)

let schema: TestSchema
const workers: Worker[] = []

beforeAll(async () => {
  // Without a key: an outcome that is recorded twice is seen as a second row.
  schema = await testSchema(`create table outcomes (kind text not null, key text not null, outcome text not null);
    create table accounts (id text not null, constraint accounts_pkey primary key (id))`)
  await schema.owner.script(`insert into orders.accounts values ('a')`)
})

beforeEach(async () => {
  done.clear()
  calls.length = 0
  await schema.owner.script('truncate orders.timers, orders.outcomes, orders.outbox')
})

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop()))
})

afterAll(() => schema.close())

/** What was done outside, and to how many calls each key has answered. */
const done = new Map<string, number>()
/** The calls in their order. */
const calls: { key: string; attempts: number; at: number }[] = []

/** The outside does what a key asks once, and answers each repeat with the same. */
const outside = async (key: string): Promise<CallResult<string>> => {
  done.set(key, (done.get(key) ?? 0) + 1)
  return { kind: 'outcome', outcome: `done ${key}` }
}

const data = z.object({ note: z.string() })
type Data = z.infer<typeof data>
type Call = (timer: Timer<Data>, signal: AbortSignal) => Promise<CallResult<string>>
type Record = (context: RecordContext<'orders'>, finished: Finished<Data, string>[]) => Promise<unknown> | void

const definition = (kind: string, call: Call, record: Record) =>
  onCall<'orders', Data, string>({
    kind,
    data,
    call: (timer, signal) => {
      calls.push({ key: timer.key, attempts: timer.attempts, at: performance.now() })
      return call(timer, signal)
    },
    record: async (context, finished) => {
      await record(context, finished)
      for (const { timer, outcome } of finished) {
        await context.tx.execute(sql`insert into outcomes values (${kind}, ${timer.key}, ${outcome})`)
        context.emitFor(timer)(counted(timer.key, 1, { count: timer.attempts, note: timer.data.note }))
      }
    },
  })

type Options = Partial<Omit<CallsOptions<'orders'>, 'postgres'>> & { postgres?: Postgres; record?: Record }

/** Makes calls as one process would. */
const start = (call: Call = ({ key }) => outside(key), { record = () => undefined, ...options }: Options = {}) => {
  const postgres = options.postgres ?? schema.postgres
  const worker = createCalls<'orders'>({
    definitions: [definition('charge', call, record), definition('refund', call, record)],
    outbox: outboxOn(postgres),
    committed: () => undefined,
    log: silent,
    pollMs: 20,
    ...options,
    postgres,
  })
  workers.push(worker)
  worker.start()
  return worker
}

const intent = (key: string, kind = 'charge'): NewTimer => ({
  kind,
  key,
  inMs: 0,
  data: { note: `note ${key}` },
  trace: trace(),
})

const intend = (...timers: NewTimer[]) => schema.postgres.transaction(({ tx }) => setTimers(tx, timers))

const column = async (statement: string): Promise<string[]> =>
  (await schema.owner.run(statement)).map((row) => String(row['value']))
const outcomes = () => column('select key as value from orders.outcomes order by key')
const messages = () => column('select key as value from orders.outbox order by key')
const left = () => column('select key as value from orders.timers order by key')
const recorded = async () => [await outcomes(), await messages(), await left()]
const eventuallyRecorded = (...keys: string[]) =>
  eventually(async () => expect(await recorded()).toEqual([keys, keys, []]))

const numbered = (count: number) => Array.from({ length: count }, (_, index) => `c${String(index).padStart(2, '0')}`)

test('a call is made after its intent has committed, and outside any transaction', async () => {
  const seen: unknown[] = []
  const postgres = watched(schema.postgres)
  start(
    async ({ key, data }) => {
      seen.push(data.note, await left())
      seen.push(
        await column(`select count(*) as value from pg_stat_activity
          where datname = current_database() and application_name = 'test' and state = 'idle in transaction'`),
      )
      return outside(key)
    },
    { postgres },
  )
  await schema.postgres.transaction(async ({ tx }) => {
    await setTimers(tx, [intent('a')])
    const polls = postgres.seen.statements
    await eventually(() => expect(postgres.seen.statements).toBeGreaterThan(polls + 2))
    expect(calls).toEqual([])
  })
  await eventuallyRecorded('a')
  expect(seen).toEqual(['note a', ['a'], ['0']])
})

test('an intent that was rolled back is never called, and one that does not fit its schema neither', async () => {
  const work = schema.postgres.transaction(async ({ tx }) => {
    await setTimers(tx, [intent('rolled-back')])
    throw new Error('on purpose')
  })
  expect(await messageThrownBy(work)).toBe('on purpose')
  const { log, lines } = keptLog()
  await intend({ ...intent('unfit'), data: {} }, intent('a'))
  start(undefined, { log })
  await eventually(async () => expect(await outcomes()).toEqual(['a']))
  await eventually(() => expect(lines.map(({ fields }) => fields['key'])).toContain('unfit'))
  expect([calls.map(({ key }) => key), await left()]).toEqual([['a'], ['unfit']])
})

test('the outcome, its message with the story of the intent, and the end of the intent are one commit', async () => {
  const one = intent('a')
  await intend(one)
  const inside = door()
  start(undefined, { record: () => inside.pass() })
  await inside.reached
  expect(await recorded()).toEqual([[], [], ['a']])
  inside.open()
  await eventuallyRecorded('a')
  expect(
    await schema.owner.run(`select outcome, outcomes.xmin = outbox.xmin as together, correlation_id, causation_id
      from orders.outcomes join orders.outbox using (key)`),
  ).toEqual([
    {
      outcome: 'done a',
      together: true,
      correlation_id: one.trace.correlationId,
      causation_id: one.trace.causationId,
    },
  ])
})

test('an outcome is recorded once although two processes have made the call', async () => {
  await intend(intent('a'))
  const slow = door()
  const first = start(
    async ({ key }) => {
      const outcome = await outside(key)
      await slow.pass()
      return outcome
    },
    { claimMs: 50, parallel: 1 },
  )
  await slow.reached
  start()
  await eventuallyRecorded('a')
  slow.open()
  await first.stop()
  expect(await recorded()).toEqual([['a'], ['a'], []])
  expect(done.get('a')).toBe(2)
})

test('a process that died between the call and its record is replaced: same key, recorded once', async () => {
  await intend(intent('a'))
  await claimDue(schema.postgres.run, { kinds: ['charge'], claimMs: 300, limit: 10 })
  await outside('a')
  start()
  await eventuallyRecorded('a')
  expect(calls.map(({ key, attempts }) => [key, attempts])).toEqual([['a', 2]])
  expect([...done]).toEqual([['a', 2]])
})

test('a call without an outcome, or that fails, is made again after a back-off with the same key', async () => {
  const { log, lines } = keptLog()
  await intend(intent('a'))
  start(
    async ({ key, attempts }) => {
      if (attempts === 1) return { kind: 'again', reason: 'busy' }
      if (attempts === 2) throw new Error('away')
      return outside(key)
    },
    { log, claimMs: 60_000, pollMs: 30_000 },
  )
  await eventuallyRecorded('a')
  const [first, second, third] = calls
  expect(calls.map(({ key, attempts }) => [key, attempts])).toEqual([
    ['a', 1],
    ['a', 2],
    ['a', 3],
  ])
  // At least the half of 200 ms, then of 400 ms.
  expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThan(95)
  expect((third?.at ?? 0) - (second?.at ?? 0)).toBeGreaterThan(195)
  expect(lines.map(({ fields }) => fields['reason'] ?? fields['error'])).toEqual(['busy', 'away'])
})

test('outcomes that arrive together share a transaction, of several kinds too', async () => {
  const keys = numbered(30)
  await intend(...keys.map((key, index) => intent(key, index % 2 === 0 ? 'charge' : 'refund')))
  const all = door()
  let standing = 0
  start(async ({ key }) => {
    standing += 1
    if (standing === keys.length) all.open()
    await all.pass()
    return outside(key)
  })
  await eventuallyRecorded(...keys)
  expect(Number(await column('select count(distinct xmin::text) as value from orders.outcomes'))).toBeLessThan(4)
  expect(await column('select distinct kind as value from orders.outcomes order by 1')).toEqual(['charge', 'refund'])
})

test('an outcome that cannot be recorded does not take the others with it, and its call is made again', async () => {
  const keys = numbered(10)
  await intend(...keys.map((key) => intent(key)))
  const all = door()
  let standing = 0
  const { log, lines } = keptLog()
  start(
    async ({ key }) => {
      standing += 1
      if (standing === keys.length) all.open()
      await all.pass()
      return outside(key)
    },
    {
      log,
      claimMs: 60_000,
      record: (_, finished) => {
        if (finished.some(({ timer }) => timer.key === 'c05' && timer.attempts < 3)) throw new Error('on purpose')
      },
    },
  )
  await eventuallyRecorded(...keys)
  expect(calls.filter(({ key }) => key === 'c05').map(({ attempts }) => attempts)).toEqual([1, 2, 3])
  expect(calls.filter(({ key }) => key !== 'c05')).toHaveLength(keys.length - 1)
  expect(lines.map(({ fields }) => [fields['key'], fields['attempts'], fields['error']])).toEqual([
    ['c05', 1, 'on purpose'],
    ['c05', 2, 'on purpose'],
  ])
})

test('no more calls than allowed are under way at once, and one that hangs does not hold up the others', async () => {
  const keys = numbered(20)
  await intend(intent('hangs'), ...keys.map((key) => intent(key)))
  const hanging = door()
  let [now, most] = [0, 0]
  start(
    async ({ key }) => {
      now += 1
      most = Math.max(most, now)
      if (key === 'hangs') await hanging.pass()
      else await schema.postgres.run('select pg_sleep($1::float8)', [0.005])
      now -= 1
      return outside(key)
    },
    { parallel: 3, pollMs: 30_000 },
  )
  await eventually(async () => expect(await outcomes()).toEqual(keys))
  hanging.open()
  await eventuallyRecorded(...keys, 'hangs')
  expect(most).toBe(3)
})

test('processes share the calls: each is made once', async () => {
  const keys = numbered(90)
  await intend(...keys.map((key) => intent(key)))
  for (const postgres of [schema.open(2), schema.open(2), schema.open(2)]) start(undefined, { postgres, parallel: 4 })
  await eventuallyRecorded(...keys)
  expect(calls.map(({ key }) => key).toSorted()).toEqual(keys)
})

/** Ends with the signal, as a call over HTTP does, unless `work` ends before. */
const untilAborted = async (signal: AbortSignal, work: Promise<CallResult<string>>): Promise<CallResult<string>> => {
  const aborted = Promise.withResolvers<never>()
  signal.addEventListener('abort', () => aborted.reject(new Error('aborted')))
  return Promise.race([work, aborted.promise])
}

test('a stop lets the calls that are under way end, records what they came to, and begins no other', async () => {
  await intend(intent('a'), intent('b'))
  const slow = door()
  const worker = start(
    ({ key }, signal) =>
      untilAborted(
        signal,
        slow.pass().then(() => outside(key)),
      ),
    { parallel: 1 },
  )
  await slow.reached
  const stopped = worker.stop()
  await schema.postgres.run('select pg_sleep($1::float8)', [0.1])
  slow.open()
  await stopped
  expect([await outcomes(), await left(), calls.length]).toEqual([['a'], ['b'], 1])
})

test('a stop aborts a call that does not end, however busy the process is, and another process makes it', async () => {
  await intend(intent('a'))
  const endless = door()
  const worker = start(
    ({ key }, signal) =>
      untilAborted(
        signal,
        endless.pass().then(() => outside(key)),
      ),
    {
      parallel: 1,
      claimMs: 600_000,
    },
  )
  await endless.reached
  // The worker has seen by now that it has no room left.
  await schema.postgres.run('select 1')
  const started = performance.now()
  await worker.stop()
  expect(performance.now() - started).toBeLessThan(10_000)
  start()
  await eventuallyRecorded('a')
})

test('a call that is cancelled while its outcome is recorded leaves none, the others do, and nobody deadlocks', async () => {
  await intend(intent('gone'), intent('kept'))
  const postgres = watched(schema.postgres)
  const { log, lines } = keptLog()
  const lock = sql`select id from accounts where id = 'a' for update`
  await schema.postgres.transaction(async ({ tx }) => {
    await tx.execute(lock)
    start(undefined, { postgres, log, record: ({ tx }) => tx.execute(lock) })
    await lockWaiters(schema.owner)
    await cancelTimer(tx, 'charge', 'gone')
  })
  await eventuallyRecorded('kept')
  expect([postgres.seen.errors.filter(isTransient), lines]).toEqual([[], []])
})

test('a call is made as soon as the process is woken, however seldom it polls', async () => {
  const postgres = watched(schema.postgres)
  const worker = start(undefined, { postgres, pollMs: 30_000 })
  await eventually(() => expect(postgres.seen.statements).toBe(1))
  await intend(intent('a'))
  worker.wake()
  await eventuallyRecorded('a')
})

test('an idle process asks Postgres at most once a poll, and opens no transaction', async () => {
  const postgres = watched(schema.postgres)
  const started = performance.now()
  start(undefined, { postgres, pollMs: 50 })
  await eventually(() => expect(postgres.seen.statements).toBeGreaterThanOrEqual(5))
  expect(postgres.seen.statements).toBeLessThanOrEqual(Math.ceil(1 + (performance.now() - started) / 50))
  expect(postgres.seen.transactions).toBe(0)
})
