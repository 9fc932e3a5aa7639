import type { z } from 'zod'
import { messageOf } from './errors.ts'
import type { Log } from './log.ts'
import { retries } from './metrics.ts'
import { createGroupCommit } from './messaging/group-commit.ts'
import type { Emit } from './messaging/message.ts'
import { type Emitted, type Outbox, newMessageId } from './messaging/outbox.ts'
import type { Postgres, Tx } from './postgres.ts'
import { backoffMs, sleep } from './retry.ts'
import { GoneError, type Timer, claimDue, finishTimers, postpone } from './timers.ts'
import { traced } from './tracing.ts'
import { type Worker, createWorker } from './worker.ts'

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

/** How long a stop lets calls that are under way end before it aborts them. */
const endMs = 3_000

/** Makes the calls that have fallen due, at most `parallel` at once; outcomes that arrive together share a transaction. */
export const createCalls = <Source extends string>(options: CallsOptions<Source>): Worker => {
  const { definitions, postgres, outbox, committed, log, claimMs = 12_000, parallel = 64, pollMs = 5_000 } = options
  const byKind = new Map(definitions.map((definition) => [definition.kind, definition]))
  const stopping = new AbortController()
  const underWay = new Set<Promise<void>>()

  /** Records outcomes of one kind. */
  const record = async (finished: Finished[]): Promise<void> => {
    const emitted: Emitted[] = []
    await postgres.transaction(async (transaction) => {
      const emittedBy = new Map<string, string[]>()
      const context: RecordContext<Source> = {
        tx: transaction.tx,
        emitFor: (timer) => (message) => {
          const id = newMessageId()
          emitted.push({ message, trace: timer.trace, id })
          emittedBy.set(timer.key, [...(emittedBy.get(timer.key) ?? []), id])
        },
      }
      await byKind.get(finished[0]?.timer.kind ?? '')?.record(context, finished)
      await finishTimers(
        transaction,
        finished.map(({ timer }) => ({ timer, emitted: emittedBy.get(timer.key) ?? [] })),
      )
      outbox.append(transaction, emitted)
    }, 'call.commit')
    if (emitted.length > 0) committed()
  }

  const recordOne = async (finished: Finished): Promise<void> => {
    try {
      await record([finished])
    } catch (error) {
      // Another process has made the call too, and records what it came to; or nobody wants it any more.
      if (error instanceof GoneError) return
      const { kind, key, attempts } = finished.timer
      log.error({ kind, key, attempts, error: messageOf(error) }, 'an outcome was not recorded; the call is made again')
      await callAgain(finished.timer)
    }
  }

  const recordTogether = createGroupCommit(async (finished: Finished[]) => {
    // A transaction for each kind: two kinds would lock the same aggregates twice, in two orders.
    for (const kind of new Set(finished.map(({ timer }) => timer.kind))) {
      const own = finished.filter(({ timer }) => timer.kind === kind)
      try {
        await record(own)
      } catch {
        for (const one of own) await recordOne(one)
      }
    }
  })

  // When this fails too, the call is made again after the claim.
  const callAgain = async (timer: Timer): Promise<void> => {
    retries.inc({ kind: 'call', name: timer.kind })
    const waitMs = backoffMs(timer.attempts, { firstMs: 200, maxMs: 10_000 })
    await postpone(postgres.run, timer, waitMs).catch(() => undefined)
    worker.wake()
  }

  const make = async (given: Timer): Promise<void> => {
    const { kind, key, attempts } = given
    // What follows from the call names its span, which ends with the answer.
    let timer = given
    try {
      const result = await traced(`call ${kind}`, 'client', given.trace, async (trace, span) => {
        timer = { ...given, trace }
        span?.set({ 'bulkhead.key': key, 'bulkhead.attempt': attempts })
        return byKind.get(kind)?.call(timer, stopping.signal)
      })
      if (result?.kind === 'outcome') return await recordTogether({ timer, outcome: result.outcome })
      log.warn({ kind, key, attempts, reason: result?.reason }, 'a call has no outcome yet; it is made again')
    } catch (error) {
      log.error({ kind, key, attempts, error: messageOf(error) }, 'a call failed; it is made again')
    }
    await callAgain(timer)
  }

  const round = async (): Promise<number> => {
    const room = parallel - underWay.size
    // The next call that ends wakes the worker.
    if (room === 0) return Infinity
    const { timers, nextInMs } = await claimDue(postgres.run, { kinds: [...byKind.keys()], claimMs, limit: room })
    for (const timer of timers) {
      const call: Promise<void> = make(timer).finally(() => {
        underWay.delete(call)
        if (underWay.size === parallel - 1) worker.wake()
      })
      underWay.add(call)
    }
    return timers.length === room ? 0 : nextInMs
  }

  const worker = createWorker({ round, pollMs, log, name: 'calls', enabled: definitions.length > 0 })
  return {
    ...worker,
    stop: async () => {
      await worker.stop()
      const ended = new AbortController()
      const ending = Promise.allSettled(underWay).then(() => ended.abort())
      await sleep(endMs, ended.signal)
      stopping.abort()
      await ending
    },
  }
}
