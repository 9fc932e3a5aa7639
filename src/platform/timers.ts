import { sql } from 'drizzle-orm'
import type { z } from 'zod'
import { durable } from './durable.ts'
import { messageOf } from './errors.ts'
import type { Log } from './log.ts'
import type { Emit, Trace } from './messaging/message.ts'
import { retries } from './metrics.ts'
import { type Emitted, type Outbox, idsOf, newMessageId } from './messaging/outbox.ts'
import { type Postgres, type Run, type SqlRow, type Transaction, type Tx, textArray } from './postgres.ts'
import { backoffMs } from './retry.ts'
import { traced } from './tracing.ts'
import { type Worker, createWorker } from './worker.ts'

/** Work that falls due once, at or after a time, even if every process died in between. */
export type Timer<Data = unknown> = {
  kind: string
  key: string
  data: Data
  trace: Trace
  attempts: number
  /** Until when it is the process's that claimed it; tells this claim from every other, of a timer set anew too. */
  claimedUntil: string
}

/** `inMs` is how long from now; not a time, for the clock of a process may be wrong, or be set right at any moment. */
export type NewTimer = { kind: string; key: string; inMs: number; data: unknown; trace: Trace }

const earliest = new WeakMap<object, number>()

/** When the first of the timers falls due that were set through `tx`; undefined when none was. */
export const earliestSet = (tx: object): number | undefined => earliest.get(tx)

/**
 * Sets timers in the transaction of `tx`, in one statement. One that is set already under its kind and key is replaced, even
 * while it fires: what fires then has no effect.
 */
export const setTimers = async (tx: Pick<Tx, 'execute'>, timers: NewTimer[]): Promise<void> => {
  if (timers.length === 0) return
  const dueAt = Date.now() + Math.min(...timers.map(({ inMs }) => inMs))
  earliest.set(tx, Math.min(dueAt, earliest.get(tx) ?? Infinity))
  const rows = timers.map(({ kind, key, inMs, data, trace }) => ({
    kind,
    key,
    in_ms: inMs,
    data,
    correlation_id: trace.correlationId,
    causation_id: trace.causationId,
    traceparent: trace.traceparent ?? null,
  }))
  // By the clock of Postgres, which every process claims by: one whose own clock is off sets timers that are right.
  await tx.execute(sql`insert into timers (kind, key, due_at, data, correlation_id, causation_id, traceparent)
    select kind, key, statement_timestamp() + in_ms * interval '1 millisecond', data, correlation_id, causation_id, traceparent
    from json_to_recordset(${JSON.stringify(rows)}) as row(kind text, key text, in_ms float8, data json,
      correlation_id text, causation_id text, traceparent text)
    on conflict (kind, key) do update set due_at = excluded.due_at, attempts = 0, data = excluded.data,
      correlation_id = excluded.correlation_id, causation_id = excluded.causation_id, traceparent = excluded.traceparent,
      set_at = now()`)
}

export const setTimer = (tx: Pick<Tx, 'execute'>, timer: NewTimer): Promise<void> => setTimers(tx, [timer])

export const cancelTimers = async (tx: Pick<Tx, 'execute'>, kind: string, keys: string[]): Promise<void> => {
  if (keys.length === 0) return
  await tx.execute(sql`with ended as (
      delete from timers where kind = ${kind} and key = any (${textArray(keys)}::text[])
      returning kind, key, attempts, set_at, correlation_id, causation_id
    )
    insert into ended_timers (kind, key, outcome, attempts, set_at, correlation_id, causation_id)
    select kind, key, 'cancelled', attempts, set_at, correlation_id, causation_id from ended`)
}

export const cancelTimer = (tx: Pick<Tx, 'execute'>, kind: string, key: string): Promise<void> =>
  cancelTimers(tx, kind, [key])

export type TimerContext<Source extends string> = { tx: Tx; emit: Emit<Source>; transaction: Transaction }

/**
 * What is done when a timer of a kind falls due; the timer is gone when its effects commit. It may set others, but not itself
 * again: that replaces it, and takes its effects back.
 */
export type TimerDefinition<Source extends string> = {
  kind: string
  fire(context: TimerContext<Source>, timer: Timer): Promise<void>
}

/** Declares a kind of timer, with the schema that its data is decoded with. */
export const onTimer = <Source extends string, Data>(
  kind: string,
  schema: z.ZodType<Data>,
  fire: (context: TimerContext<Source>, timer: Timer<Data>) => Promise<void>,
): TimerDefinition<Source> => ({
  kind,
  fire: (context, timer) => fire(context, { ...timer, data: schema.parse(timer.data) }),
})

export type TimersOptions<Source extends string> = {
  definitions: TimerDefinition<Source>[]
  postgres: Pick<Postgres, 'transaction' | 'run'>
  outbox: Pick<Outbox<Source>, 'append'>
  committed: () => void
  log: Log
  /** For this long a due timer is this process's alone; a process that dies with it is replaced after that. */
  claimMs?: number
  pollMs?: number
  batchSize?: number
}

/**
 * The second part is one row that says when the next timer falls due. `statement_timestamp()` is one time for both parts, and
 * stable: with `clock_timestamp()` no index could be searched, and each poll would read every timer there is.
 */
const claim = `with due as (
    select kind, key from timers where due_at <= statement_timestamp() and kind = any ($1::text[])
    order by due_at limit $3 for update skip locked
  ),
  claimed as (
    update timers set attempts = attempts + 1, due_at = statement_timestamp() + $2::interval
    from due where timers.kind = due.kind and timers.key = due.key
    returning timers.*
  )
  select kind, key, data::text, attempts, due_at, correlation_id, causation_id, traceparent, null::integer as next_ms from claimed
  union all
  select null, null, null, null, null, null, null, null,
    (select least(extract(epoch from min(due_at) - statement_timestamp()) * 1000, 3600000)::integer
      from timers where due_at > statement_timestamp() and kind = any ($1::text[]))`

/** Takes what has fallen due away from every other process for `claimMs`; says in how many milliseconds the next does. */
export const claimDue = async (
  run: Run,
  { kinds, claimMs, limit }: { kinds: string[]; claimMs: number; limit: number },
): Promise<{ timers: Timer[]; nextInMs: number }> => {
  const rows = await durable('timer.claim', () =>
    run(claim, [`{${kinds.join(',')}}`, `${claimMs} milliseconds`, limit]),
  )
  const next = rows.find((row) => row['kind'] === null)?.['next_ms']
  return {
    timers: rows.filter((row) => row['kind'] !== null).map(toTimer),
    nextInMs: typeof next === 'number' ? Math.max(next, 0) + 1 : Infinity,
  }
}

/** A claim is the attempt and the time it runs to: a timer that was set anew begins to count its attempts again. */
const finish = `with ended as (
    delete from timers using json_to_recordset($1)
      as done(kind text, key text, attempts integer, due_at timestamptz, emitted json)
    where timers.kind = done.kind and timers.key = done.key and timers.attempts = done.attempts and timers.due_at = done.due_at
    returning timers.kind, timers.key, timers.attempts, timers.set_at, timers.correlation_id, timers.causation_id, done.emitted
  )
  insert into ended_timers (kind, key, outcome, attempts, set_at, correlation_id, causation_id, emitted)
  select kind, key, 'fired', attempts, set_at, correlation_id, causation_id, emitted from ended
  returning key`

/** A timer that has done its work, and the ids of the messages that came of it. */
export type EndedTimer = { timer: Timer; emitted: string[] }

/**
 * Ends claimed timers in the transaction, whose last work that must be, so that the aggregates are locked before them.
 * @throws GoneError when one was cancelled or set anew, or another process has taken it over: the transaction must have no effect
 */
export const finishTimers = async (transaction: Pick<Transaction, 'run'>, done: EndedTimer[]): Promise<void> => {
  const claims = done.map(({ timer: { kind, key, attempts, claimedUntil }, emitted }) => ({
    kind,
    key,
    attempts,
    due_at: claimedUntil,
    emitted,
  }))
  const ended = await transaction.run(finish, [JSON.stringify(claims)])
  if (ended.length < done.length) throw new GoneError()
}

const again = `update timers set due_at = clock_timestamp() + $5::interval
  where kind = $1 and key = $2 and attempts = $3 and due_at = $4::timestamptz`

/** Makes a claimed timer due again after a while; it keeps the number of its attempts. */
export const postpone = async (run: Run, timer: Timer, ms: number): Promise<void> => {
  const { kind, key, attempts, claimedUntil } = timer
  await durable('timer.postpone', () =>
    run(again, [kind, key, attempts, claimedUntil, `${Math.round(ms)} milliseconds`]),
  )
}

/** Thrown inside a transaction, to take back the effects of a timer that is no longer there. */
export class GoneError extends Error {
  override readonly name = 'GoneError'
}

const toTimer = (row: SqlRow): Timer => ({
  kind: String(row['kind']),
  key: String(row['key']),
  data: JSON.parse(String(row['data'])),
  attempts: Number(row['attempts']),
  claimedUntil: String(row['due_at']),
  trace: {
    correlationId: String(row['correlation_id']),
    causationId: String(row['causation_id']),
    ...(row['traceparent'] === null ? {} : { traceparent: String(row['traceparent']) }),
  },
})

/**
 * Fires due timers, each in a transaction of its own with its effects: several in one would lock their aggregates in no
 * order. One that fails is postponed with back-off. The aggregates are locked before the timer's row, as in every other
 * transaction, and a timer that turns out to be gone by then takes its effects with it.
 */
export const createTimers = <Source extends string>(options: TimersOptions<Source>): Worker => {
  const { definitions, postgres, outbox, committed, log, claimMs = 5_000, pollMs = 8_000, batchSize = 50 } = options
  const byKind = new Map(definitions.map((definition) => [definition.kind, definition]))

  const fire = (given: Timer): Promise<void> =>
    traced(`timer ${given.kind}`, 'internal', given.trace, (trace) => fireIn({ ...given, trace }))

  const fireIn = async (timer: Timer): Promise<void> => {
    const emitted: Emitted[] = []
    await postgres.transaction(async (transaction) => {
      const emit: Emit<Source> = (message) => void emitted.push({ message, trace: timer.trace, id: newMessageId() })
      await byKind.get(timer.kind)?.fire({ tx: transaction.tx, emit, transaction }, timer)
      await finishTimers(transaction, [{ timer, emitted: idsOf(emitted) }])
      outbox.append(transaction, emitted)
    }, 'timer.commit')
    if (emitted.length > 0) committed()
  }

  const round = async (): Promise<number> => {
    const kinds = [...byKind.keys()]
    const { timers, nextInMs } = await claimDue(postgres.run, { kinds, claimMs, limit: batchSize })
    for (const timer of timers) {
      try {
        await fire(timer)
      } catch (error) {
        if (error instanceof GoneError) continue
        const { kind, key, attempts } = timer
        retries.inc({ kind: 'timer', name: kind })
        log.error({ kind, key, attempts, error: messageOf(error) }, 'a timer failed; it is tried again')
        await postpone(postgres.run, timer, backoffMs(attempts, { firstMs: 200, maxMs: 30_000 }))
      }
    }
    return timers.length === 0 ? nextInMs : 0
  }
  return createWorker({ round, pollMs, log, name: 'timers', enabled: definitions.length > 0 })
}
