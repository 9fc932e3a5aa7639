import type { z } from 'zod'
import { messageOf } from './errors.ts'
import type { Log } from './log.ts'
import { createGroupCommit } from './messaging/group-commit.ts'
import type { Emit } from './messaging/message.ts'
import type { Emitted, Outbox } from './messaging/outbox.ts'
import type { Postgres, Tx } from './postgres.ts'
import { backoffMs } from './retry.ts'
import { type Timer, type Worker, createWorker, toTimer } from './timers.ts'

/** What a call to the outside came to: an outcome to record, or the need to call again later. */
export type CallResult<Outcome> = { kind: 'outcome'; outcome: Outcome } | { kind: 'again'; reason: string }

export type Finished<Data = unknown, Outcome = unknown> = { timer: Timer<Data>; outcome: Outcome }

/** The transaction that records outcomes; what is emitted belongs to the story of its timer. */
export type RecordContext<Source extends string> = { tx: Tx; emitFor(timer: Timer): Emit<Source> }

/**
 * A call to the outside that must happen although any process may die: its intent is a timer that a transaction set, it is
 * made outside any transaction, and its outcome is recorded in one. It may be made more than once: give it a key that makes
 * a repeat harmless.
 */
export type CallDefinition<Source extends string> = {
  kind: string
  call(timer: Timer, signal: AbortSignal): Promise<CallResult<unknown>>
  record(context: RecordContext<Source>, finished: Finished[]): Promise<void>
}

/** Declares a kind of call. `data` is what the timer carries. */
export const onCall = <Source extends string, Data, Outcome>(definition: {
  kind: string
  data: z.ZodType<Data>
  call(timer: Timer<Data>, signal: AbortSignal): Promise<CallResult<Outcome>>
  record(context: RecordContext<Source>, finished: Finished<Data, Outcome>[]): Promise<void>
}): CallDefinition<Source> => {
  const decode = (timer: Timer): Timer<Data> => ({ ...timer, data: definition.data.parse(timer.data) })
  return {
    kind: definition.kind,
    call: (timer, signal) => definition.call(decode(timer), signal),
    record: (context, finished) =>
      definition.record(
        context,
        finished.map(({ timer, outcome }) => ({ timer: decode(timer), outcome: outcome as Outcome })),
      ),
  }
}

export type CallsOptions<Source extends string> = {
  definitions: CallDefinition<Source>[]
  postgres: Pick<Postgres, 'transaction' | 'run'>
  outbox: Pick<Outbox<Source>, 'append'>
  committed: () => void
  log: Log
  /** For this long a claimed call is this process's alone; it must be longer than a call can take. */
  claimMs?: number
  parallel?: number
  pollMs?: number
}

const claimDue = `update timers set attempts = attempts + 1, due_at = clock_timestamp() + $2::interval
  where (kind, key) in (
    select kind, key from timers where due_at <= clock_timestamp() and kind = any ($1::text[])
    order by due_at limit $3 for update skip locked)
  returning kind, key, data, attempts, correlation_id, causation_id, traceparent`

const callAgain = `update timers set due_at = clock_timestamp() + $4::interval where kind = $1 and key = $2 and attempts = $3`

/** Deletes the claimed timer; a row less than asked for says that another process has taken a call over. */
const finish = `delete from timers using json_to_recordset($1) as done(kind text, key text, attempts integer)
  where timers.kind = done.kind and timers.key = done.key and timers.attempts = done.attempts
  returning timers.kind, timers.key`

/** Makes the calls that have fallen due, at most `parallel` at once; outcomes that arrive together share a transaction. */
export const createCalls = <Source extends string>(options: CallsOptions<Source>): Worker => {
  const { definitions, postgres, outbox, committed, log, claimMs = 30_000, parallel = 64, pollMs = 3_000 } = options
  const byKind = new Map(definitions.map((definition) => [definition.kind, definition]))
  const kinds = `{${[...byKind.keys()].join(',')}}`
  const stopping = new AbortController()
  const underWay = new Set<Promise<void>>()

  const record = async (finished: Finished[]): Promise<void> => {
    const emitted: Emitted[] = []
    await postgres.transaction(async (transaction) => {
      const claimed = finished.map(({ timer: { kind, key, attempts } }) => ({ kind, key, attempts }))
      const rows = await transaction.run(finish, [JSON.stringify(claimed)])
      const mine = new Set(rows.map((row) => `${row['kind']} ${row['key']}`))
      const context: RecordContext<Source> = {
        tx: transaction.tx,
        emitFor: (timer) => (message) => void emitted.push({ message, trace: timer.trace }),
      }
      for (const [kind, definition] of byKind) {
        const own = finished.filter(({ timer }) => timer.kind === kind && mine.has(`${kind} ${timer.key}`))
        if (own.length > 0) await definition.record(context, own)
      }
      outbox.append(transaction, emitted)
    })
    if (emitted.length > 0) committed()
  }

  const recordTogether = createGroupCommit(async (finished: Finished[]) => {
    try {
      await record(finished)
    } catch (error) {
      if (finished.length === 1) throw error
      for (const one of finished) {
        await record([one]).catch((cause: unknown) =>
          log.error(
            { kind: one.timer.kind, key: one.timer.key, error: messageOf(cause) },
            'an outcome could not be recorded; the call is made again',
          ),
        )
      }
    }
  })

  const make = async (timer: Timer): Promise<void> => {
    const { kind, key, attempts } = timer
    try {
      const result = await byKind.get(kind)?.call(timer, stopping.signal)
      if (result?.kind === 'outcome') return await recordTogether({ timer, outcome: result.outcome })
      log.warn({ kind, key, attempts, reason: result?.reason }, 'a call has no outcome yet; it is made again')
    } catch (error) {
      log.error({ kind, key, attempts, error: messageOf(error) }, 'a call failed; it is made again')
    }
    const waitMs = Math.round(backoffMs(attempts, { firstMs: 200, maxMs: 10_000 }))
    await postgres.run(callAgain, [kind, key, attempts, `${waitMs} milliseconds`]).catch(() => undefined)
    setTimeout(worker.wake, waitMs + 5).unref()
  }

  const round = async (): Promise<boolean> => {
    const room = parallel - underWay.size
    if (room === 0) {
      await Promise.race(underWay)
      return true
    }
    const claimed = (await postgres.run(claimDue, [kinds, `${claimMs} milliseconds`, room])).map(toTimer)
    for (const timer of claimed) {
      const call: Promise<void> = make(timer).finally(() => underWay.delete(call))
      underWay.add(call)
    }
    return claimed.length === room
  }

  const worker = createWorker({ round, pollMs, log, name: 'calls', enabled: definitions.length > 0 })
  return {
    ...worker,
    stop: async () => {
      await worker.stop()
      await Promise.race([Promise.allSettled(underWay), new Promise((resolve) => setTimeout(resolve, 3_000))])
      stopping.abort()
      await Promise.allSettled(underWay)
    },
  }
}
