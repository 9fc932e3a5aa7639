import { afterAll, afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { type TestSchema, testSchema } from '../test/database.ts'
import { eventually } from '../test/eventually.ts'
import { door, keptLog, lockWaiters, outboxOn, watched } from '../test/mechanism.ts'
import { counted, silent, trace } from '../test/messaging.ts'
import { messageThrownBy } from '../test/thrown.ts'
import { isTransient } from './errors.ts'
import type { Postgres } from './postgres.ts'
import {
  type NewTimer,
  type Timer,
  type TimerContext,
  type TimersOptions,
  cancelTimer,
  cancelTimers,
  claimDue,
  createTimers,
  onTimer,
  setTimer,
  setTimers,
} from './timers.ts'
import type { Worker } from './worker.ts'

setDefaultTimeout(60_000)

let schema: TestSchema
const workers: Worker[] = []

beforeAll(async () => {
  // Without a key: a second effect of one timer is seen as a second row.
  schema = await testSchema(`create table effects (key text not null, note text not null, at timestamptz not null);
    create table accounts (id text not null, constraint accounts_pkey primary key (id))`)
  await schema.owner.script(`insert into orders.accounts values ('a')`)
})

beforeEach(() => schema.owner.script('truncate orders.timers, orders.effects, orders.outbox'))

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop()))
})

afterAll(() => schema.close())

const kind = 'test'
const data = z.object({ note: z.string() })
type Data = z.infer<typeof data>
type Fire = (context: TimerContext<'orders'>, timer: Timer<Data>) => Promise<unknown> | void

const timer = (key: string, inMs = 0, note = key): NewTimer => ({
  kind,
  key,
  inMs,
  data: { note },
  trace: trace(),
})

const set = (...timers: NewTimer[]) => schema.postgres.transaction(({ tx }) => setTimers(tx, timers))

/** Fires timers as one process would: each leaves an effect and a message, after what `fire` does. */
const start = (
  fire: Fire = () => undefined,
  options: Partial<TimersOptions<'orders'>> & { postgres?: Postgres } = {},
) => {
  const postgres = options.postgres ?? schema.postgres
  const worker = createTimers<'orders'>({
    definitions: [
      onTimer<'orders', Data>(kind, data, async (context, fired) => {
        await context.tx.execute(sql`insert into effects values (${fired.key}, ${fired.data.note}, clock_timestamp())`)
        context.emit(counted(fired.key, 1, { count: fired.attempts, note: fired.data.note }))
        await fire(context, fired)
      }),
    ],
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

const column = async (statement: string): Promise<string[]> =>
  (await schema.owner.run(statement)).map((row) => String(row['value']))
const effects = () => column('select key as value from orders.effects order by key')
const notes = () => column('select note as value from orders.effects order by note')
const messages = () => column('select key as value from orders.outbox order by key')
const left = () => column('select key as value from orders.timers order by key')

const eventuallyEffects = (...keys: string[]) => eventually(async () => expect(await effects()).toEqual(keys))

/** Waits for what is due now to have been fired: a timer set last falls due last. */
const behindAll = async () => {
  await set(timer('zz-last', 30))
  await eventually(async () => expect(await effects()).toContain('zz-last'))
}

test('a timer is set with its transaction, and gone with a rollback', async () => {
  const work = schema.postgres.transaction(async ({ tx }) => {
    await setTimer(tx, timer('rolled-back'))
    throw new Error('on purpose')
  })
  expect(await messageThrownBy(work)).toBe('on purpose')
  await set(timer('committed'))
  expect(await left()).toEqual(['committed'])
  start()
  await behindAll()
  expect(await effects()).toEqual(['committed', 'zz-last'])
})

test('a timer fires when its time has come and not before, with its data and its story', async () => {
  const due = [-1_000, 150, 300]
  const timers = due.map((inMs, index) => timer(`t${index}`, inMs, `note ${index}`))
  const before = Date.now()
  await set(...timers, timer('tomorrow', 86_400_000))
  const fired: Timer<Data>[] = []
  start((_, one) => void fired.push(one))
  await eventuallyEffects('t0', 't1', 't2')
  const at = await column('select extract(epoch from at) * 1000 as value from orders.effects order by key')
  for (const [index, inMs] of due.entries()) expect(Number(at[index])).toBeGreaterThanOrEqual(before + inMs)
  expect(fired.map(({ key, data, trace, attempts }) => ({ key, data, trace, attempts }))).toEqual(
    timers.map(({ key, data, trace }) => ({ key, data: data as Data, trace, attempts: 1 })),
  )
  expect(await left()).toEqual(['tomorrow'])
})

test('a timer fires at its time however seldom the process polls', async () => {
  await set(timer('soon', 200))
  const started = Date.now()
  start(undefined, { pollMs: 30_000 })
  await eventuallyEffects('soon')
  expect(Date.now() - started).toBeLessThan(5_000)
})

test('each of 1,000 timers fires once when several processes want them all', async () => {
  const keys = Array.from({ length: 1_000 }, (_, index) => `t${String(index).padStart(4, '0')}`)
  await set(...keys.map((key) => timer(key)))
  const by: number[] = [0, 0, 0, 0]
  for (const process of by.keys()) {
    start(() => void (by[process] = (by[process] ?? 0) + 1), { postgres: schema.open(2) })
  }
  await eventually(async () => expect(await left()).toEqual([]), 30_000)
  expect([await effects(), await messages()]).toEqual([keys, keys])
  expect(by.filter((count) => count > 0).length).toBeGreaterThan(1)
})

test('a timer that was moved fires once, at its new time and with its new data and story', async () => {
  const story = trace()
  await set(timer('later', 0, 'old'), timer('sooner', 86_400_000, 'old'))
  const dueAt = Date.now() + 300
  await set(timer('later', 300, 'moved later'), { ...timer('sooner', 0, 'moved sooner'), trace: story })
  start()
  await eventually(async () => expect(await notes()).toEqual(['moved later', 'moved sooner']))
  const [at] = await column(`select extract(epoch from at) * 1000 as value from orders.effects where key = 'later'`)
  expect(Number(at)).toBeGreaterThanOrEqual(dueAt)
  await behindAll()
  expect(await effects()).toEqual(['later', 'sooner', 'zz-last'])
  expect(await column(`select correlation_id as value from orders.outbox where key = 'sooner'`)).toEqual([
    story.correlationId,
  ])
})

test('timers that were cancelled never fire, and a cancellation that rolls back cancels nothing', async () => {
  await set(timer('a'), timer('b'), timer('c'), timer('kept'))
  await schema.postgres.transaction(async ({ tx }) => {
    await cancelTimer(tx, kind, 'a')
    await cancelTimers(tx, kind, ['b', 'c', 'unknown'])
    await cancelTimers(tx, 'another kind', ['kept'])
  })
  const work = schema.postgres.transaction(async ({ tx }) => {
    await cancelTimer(tx, kind, 'kept')
    throw new Error('on purpose')
  })
  expect(await messageThrownBy(work)).toBe('on purpose')
  start()
  await behindAll()
  expect(await effects()).toEqual(['kept', 'zz-last'])
})

test('a timer whose handler throws is tried again after a back-off, and the others do not wait for it', async () => {
  const tries = new Map<number, number>()
  const { log, lines } = keptLog()
  await set(timer('bad'), ...['x', 'y', 'z'].map((key) => timer(key)))
  const fire: Fire = (_, { key, attempts }) => {
    if (key !== 'bad') return
    if (!tries.has(attempts)) tries.set(attempts, performance.now())
    if (attempts < 3) throw new Error('on purpose')
  }
  start(fire, { log, claimMs: 60_000 })
  await eventuallyEffects('bad', 'x', 'y', 'z')
  expect((await column('select key as value from orders.effects order by at')).at(-1)).toBe('bad')
  expect(await messages()).toEqual(['bad', 'x', 'y', 'z'])
  expect(lines.map(({ fields }) => [fields['key'], fields['attempts'], fields['error']])).toEqual([
    ['bad', 1, 'on purpose'],
    ['bad', 2, 'on purpose'],
  ])
  // At least the half of 200 ms, then of 400 ms.
  const [first = 0, second = 0, third = 0] = tries.values()
  expect(second - first).toBeGreaterThan(95)
  expect(third - second).toBeGreaterThan(195)
})

test('a timer whose data does not fit its schema is kept, and the others do not wait for it', async () => {
  const { log, lines } = keptLog()
  await set({ ...timer('bad'), data: { other: 1 } }, timer('good'))
  start(undefined, { log })
  await eventuallyEffects('good')
  await eventually(() => expect(lines.length).toBeGreaterThan(0))
  expect(await left()).toEqual(['bad'])
})

test('two processes that claim at the same moment do not wait for each other, and share what is due', async () => {
  await set(timer('a', -3_000), timer('b', -2_000), timer('c', -1_000))
  const claimed = { kinds: [kind], claimMs: 60_000, limit: 2 }
  const [first, second] = await schema.postgres.transaction(async ({ run }) => [
    await claimDue(run, claimed),
    await claimDue(schema.postgres.run, claimed),
  ])
  const keys = [first, second].map(({ timers }) => timers.map(({ key }) => key).toSorted())
  expect(keys).toEqual([['a', 'b'], ['c']])
})

test('what a process claimed and never finished, since it died, another one fires when the claim is over', async () => {
  await set(timer('a'))
  const claimed = await claimDue(schema.postgres.run, { kinds: [kind], claimMs: 400, limit: 10 })
  expect(claimed.timers.map(({ key, attempts }) => [key, attempts])).toEqual([['a', 1]])
  const [until] = await column('select extract(epoch from due_at) * 1000 as value from orders.timers')
  const tried: number[] = []
  start((_, { attempts }) => void tried.push(attempts))
  await eventuallyEffects('a')
  const [at] = await column('select extract(epoch from at) * 1000 as value from orders.effects')
  expect(Number(at)).toBeGreaterThanOrEqual(Number(until))
  expect([tried, await messages(), await left()]).toEqual([[2], ['a'], []])
})

test('what fires after its claim is over, and another process has taken it, has no second effect', async () => {
  await set(timer('a'))
  const slow = door()
  const first = start(() => slow.pass(), { claimMs: 50 })
  await slow.reached
  start()
  await eventuallyEffects('a')
  slow.open()
  await first.stop()
  expect([await effects(), await messages(), await left()]).toEqual([['a'], ['a'], []])
})

test('the effects of a timer, its messages and its end are one commit', async () => {
  await set(timer('a'))
  const inside = door()
  start(() => inside.pass())
  await inside.reached
  expect([await effects(), await messages(), await left()]).toEqual([[], [], ['a']])
  inside.open()
  await eventuallyEffects('a')
  expect([await messages(), await left()]).toEqual([['a'], []])
  expect(
    await column('select effects.xmin = outbox.xmin as value from orders.effects join orders.outbox using (key)'),
  ).toEqual(['true'])
})

test('a message that the outbox refuses takes the effects with it and leaves the timer', async () => {
  await set(timer('a'))
  const { log, lines } = keptLog()
  start(({ emit }, { attempts }) => emit(counted(attempts === 1 ? 'no text\0' : 'b', 1, { count: 1 })), { log })
  await eventually(() => expect(lines).toHaveLength(1))
  expect([await effects(), await messages(), await left()]).toEqual([[], [], ['a']])
  await eventuallyEffects('a')
  expect(await messages()).toEqual(['a', 'b'])
})

const lockAccount = ({ tx }: Pick<TimerContext<'orders'>, 'tx'>) =>
  tx.execute(sql`select id from accounts where id = 'a' for update`)

/** Lets timers fire while a transaction holds the aggregate that they need; `work` is the rest of that transaction. */
const whileTheyFire = async (work: (tx: TimerContext<'orders'>['tx']) => Promise<void>) => {
  const postgres = watched(schema.postgres)
  const { log, lines } = keptLog()
  await schema.postgres.transaction(async ({ tx }) => {
    await lockAccount({ tx })
    start(lockAccount, { postgres, log })
    await lockWaiters(schema.owner)
    await work(tx)
  })
  return { errors: postgres.seen.errors, lines }
}

test('a timer that is cancelled while it fires has no effect, its neighbours keep theirs, and nobody deadlocks', async () => {
  await set(timer('gone'), timer('kept'))
  const { errors, lines } = await whileTheyFire((tx) => cancelTimer(tx, kind, 'gone'))
  await eventuallyEffects('kept')
  await behindAll()
  expect([await effects(), await messages(), await left()]).toEqual([['kept', 'zz-last'], ['kept', 'zz-last'], []])
  expect([errors.filter(isTransient), lines]).toEqual([[], []])
})

test('a timer that is moved while it fires has the effect of its new time alone', async () => {
  await set(timer('a', 0, 'old'))
  const { errors, lines } = await whileTheyFire((tx) => setTimer(tx, timer('a', 100, 'new')))
  await eventuallyEffects('a')
  await behindAll()
  expect([await notes(), await messages(), await left()]).toEqual([['new', 'zz-last'], ['a', 'zz-last'], []])
  expect([errors.filter(isTransient), lines]).toEqual([[], []])
})

test('a process does not take a timer that was set anew, and that another has claimed, for the one it fires', async () => {
  await set(timer('a', 0, 'old'))
  const slow = door()
  const first = start(() => slow.pass(), { claimMs: 60_000 })
  await slow.reached
  await schema.postgres.transaction(({ tx }) => cancelTimer(tx, kind, 'a'))
  await set(timer('a', 0, 'new'))
  const { timers } = await claimDue(schema.postgres.run, { kinds: [kind], claimMs: 60_000, limit: 10 })
  expect(timers.map(({ attempts, data }) => [attempts, data])).toEqual([[1, { note: 'new' }]])
  slow.open()
  await first.stop()
  expect([await effects(), await messages(), await left()]).toEqual([[], [], ['a']])
})

test('a stop lets what fires end', async () => {
  await set(timer('a'))
  const slow = door()
  const worker = start(() => slow.pass())
  await slow.reached
  const stopped = worker.stop()
  slow.open()
  await stopped
  expect(await effects()).toEqual(['a'])
})

test('an idle process asks Postgres at most once a poll, and opens no transaction', async () => {
  await set(timer('tomorrow', 86_400_000))
  const postgres = watched(schema.postgres)
  const started = performance.now()
  start(undefined, { postgres, pollMs: 50 })
  await eventually(() => expect(postgres.seen.statements).toBeGreaterThanOrEqual(5))
  expect(postgres.seen.statements).toBeLessThanOrEqual(Math.ceil(1 + (performance.now() - started) / 50))
  expect(postgres.seen.transactions).toBe(0)
})

test('a poll reads what is due, and not what waits for its time', async () => {
  await schema.owner.script(`insert into orders.timers (kind, key, due_at, data, correlation_id, causation_id)
    select 'test', n, now() + n * interval '1 hour', '{}', '', '' from generate_series(1, 5000) as n; analyze orders.timers`)
  await set(timer('due', -1_000))
  const [row] = await schema.postgres.transaction(async ({ run }) => {
    const { timers } = await claimDue(run, { kinds: [kind], claimMs: 1_000, limit: 10 })
    expect(timers).toHaveLength(1)
    return run(
      `select (seq_tup_read + idx_tup_fetch)::int as read from pg_stat_xact_user_tables where relname = 'timers'`,
    )
  })
  expect(Number(row?.['read'])).toBeLessThan(50)
})
