import { sql } from 'drizzle-orm'
import type { z } from 'zod'
import { isTransient, messageOf } from './errors.ts'
import type { Log } from './log.ts'
import type { Emit, Trace } from './messaging/message.ts'
import type { Emitted, Outbox } from './messaging/outbox.ts'
import type { Postgres, SqlRow, Transaction, Tx } from './postgres.ts'
import { backoffMs, sleep } from './retry.ts'

/** Work that falls due once, at or after a time, even if every process died in between. */
export type Timer<Data = unknown> = { kind: string; key: string; data: Data; trace: Trace; attempts: number }

export type NewTimer = { kind: string; key: string; dueAt: Date; data: unknown; trace: Trace }

/** Sets timers in the transaction of `tx`, in one statement; one that is set already under its kind and key is moved. */
export const setTimers = async (tx: Pick<Tx, 'execute'>, timers: NewTimer[]): Promise<void> => {
  if (timers.length === 0) return
  const rows = timers.map(({ kind, key, dueAt, data, trace }) => ({
    kind,
    key,
    due_at: dueAt.toISOString(),
    attempts: 0,
    data,
    correlation_id: trace.correlationId,
    causation_id: trace.causationId,
    traceparent: trace.traceparent ?? null,
  }))
  await tx.execute(sql`insert into timers select * from json_populate_recordset(null::timers, ${JSON.stringify(rows)})
    on conflict (kind, key) do update set due_at = excluded.due_at, data = excluded.data, attempts = 0`)
}

export const setTimer = (tx: Pick<Tx, 'execute'>, timer: NewTimer): Promise<void> => setTimers(tx, [timer])

export const cancelTimers = async (tx: Pick<Tx, 'execute'>, kind: string, keys: string[]): Promise<void> => {
  if (keys.length === 0) return
  await tx.execute(
    sql`delete from timers where kind = ${kind} and key in (select json_array_elements_text(${JSON.stringify(keys)}::json))`,
  )
}

export const cancelTimer = (tx: Pick<Tx, 'execute'>, kind: string, key: string): Promise<void> =>
  cancelTimers(tx, kind, [key])

export type TimerContext<Source extends string> = { tx: Tx; emit: Emit<Source>; transaction: Transaction }

/** What is done when a timer of a kind falls due; the timer is gone when its effects commit. */
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

export type Worker = {
  start(): void
  /** Says that something may have fallen due; costs no I/O by itself. */
  wake(): void
  stop(): Promise<void>
}

export type TimersOptions<Source extends string> = {
  definitions: TimerDefinition<Source>[]
  postgres: Pick<Postgres, 'transaction' | 'run'>
  outbox: Pick<Outbox<Source>, 'append'>
  committed: () => void
  log: Log
  pollMs?: number
  batchSize?: number
}

const takeDue = `delete from timers where (kind, key) in (
    select kind, key from timers where due_at <= clock_timestamp() and kind = any ($1::text[])
    order by due_at limit $2 for update skip locked)
  returning kind, key, data, attempts, correlation_id, causation_id, traceparent`

const postpone = `update timers set attempts = attempts + 1, due_at = clock_timestamp() + $3::interval where kind = $1 and key = $2
  and due_at <= clock_timestamp()`

export const toTimer = (row: SqlRow): Timer => ({
  kind: String(row['kind']),
  key: String(row['key']),
  data: JSON.parse(String(row['data'])),
  attempts: Number(row['attempts']),
  trace: {
    correlationId: String(row['correlation_id']),
    causationId: String(row['causation_id']),
    ...(row['traceparent'] === null ? {} : { traceparent: String(row['traceparent']) }),
  },
})

/**
 * Fires due timers: those of one poll share a transaction with their effects; when it fails, one by one, and one that fails
 * alone is postponed with back-off. A timer is taken by one process at a time.
 */
export const createTimers = <Source extends string>(options: TimersOptions<Source>): Worker => {
  const { definitions, postgres, outbox, committed, log, pollMs = 3_000, batchSize = 50 } = options
  const byKind = new Map(definitions.map((definition) => [definition.kind, definition]))
  const kinds = `{${[...byKind.keys()].join(',')}}`

  const fire = async (limit: number): Promise<Timer[]> => {
    let taken: Timer[] = []
    const emitted: Emitted[] = []
    await postgres.transaction(async (transaction) => {
      taken = (await transaction.run(takeDue, [kinds, limit])).map(toTimer)
      for (const timer of taken) {
        const emit: Emit<Source> = (message) => void emitted.push({ message, trace: timer.trace })
        await byKind
          .get(timer.kind)
          ?.fire({ tx: transaction.tx, emit, transaction }, timer)
          .catch((error: unknown) => {
            throw new TimerError(timer, error)
          })
      }
      outbox.append(transaction, emitted)
    })
    if (emitted.length > 0) committed()
    return taken
  }

  const fireOne = async (): Promise<number> => {
    try {
      return (await fire(1)).length
    } catch (error) {
      if (!(error instanceof TimerError) || isTransient(error)) throw error
      const { kind, key, attempts } = error.timer
      log.error({ kind, key, attempts, error: messageOf(error.cause) }, 'a timer failed; it is tried again')
      await postgres.run(postpone, [
        kind,
        key,
        `${Math.round(backoffMs(attempts + 1, { firstMs: 200, maxMs: 30_000 }))} milliseconds`,
      ])
      return 1
    }
  }

  const round = async (): Promise<boolean> => {
    try {
      return (await fire(batchSize)).length === batchSize
    } catch (error) {
      if (isTransient(error)) throw error
      for (let count = 0; count < batchSize; count += 1) if ((await fireOne()) === 0) return false
      return true
    }
  }
  return createWorker({ round, pollMs, log, name: 'timers', enabled: definitions.length > 0 })
}

class TimerError extends Error {
  readonly timer: Timer

  constructor(timer: Timer, cause: unknown) {
    super(messageOf(cause), { cause })
    this.timer = timer
  }
}

export type WorkerOptions = { round: () => Promise<boolean>; pollMs: number; log: Log; name: string; enabled: boolean }

/** Runs `round` whenever it is woken and at least each `pollMs`, again at once while it answers true, and never twice at once. */
export const createWorker = ({ round, pollMs, log, name, enabled }: WorkerOptions): Worker => {
  const stopping = new AbortController()
  let woken = false
  let nap = new AbortController()
  let running: Promise<void> | undefined

  const loop = async () => {
    for (let failures = 0; !stopping.signal.aborted;) {
      try {
        woken = false
        const more = await round()
        failures = 0
        if (more || woken) continue
        nap = new AbortController()
        await sleep(pollMs, AbortSignal.any([nap.signal, stopping.signal]))
      } catch (error) {
        failures += 1
        log.warn({ worker: name, error: messageOf(error), failures }, 'a round of work failed')
        await sleep(backoffMs(failures, { firstMs: 50, maxMs: 2_000 }), stopping.signal)
      }
    }
  }
  return {
    start: () => {
      if (enabled) running ??= loop()
    },
    wake: () => {
      woken = true
      nap.abort()
    },
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}
