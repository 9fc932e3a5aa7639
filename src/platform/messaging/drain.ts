import { z } from 'zod'
import { DomainError, isTransient } from '../errors.ts'
import type { Log } from '../log.ts'
import { messagesParked } from '../metrics.ts'
import type { Postgres, Run, Transaction } from '../postgres.ts'
import { type Backoff, backoffMs, sleep } from '../retry.ts'
import { type NewTimer, type TimerDefinition, onTimer, setTimers } from '../timers.ts'
import type { RawRecord } from './cloud-event.ts'
import { type Read, contextOf, isWanted, runHandlers } from './handler.ts'
import { type Head, headOf, holdsRestatement, markHeld, resolveHeld } from './held.ts'
import { keepKeys, lockKeys } from './inbox.ts'
import { type HeldBecause, type KeyState, judgeHead, start } from './key-order.ts'
import type { Trace } from './message.ts'
import type { Emitted, Outbox } from './outbox.ts'
import { type Abandoned, type Persist, untilStopped } from './patience.ts'

export type DrainOptions<Source extends string> = {
  name: string
  read: (record: RawRecord, position: string) => Read<Source>
  postgres: Pick<Postgres, 'transaction'>
  outbox: Pick<Outbox<Source>, 'append'>
  committed: () => void
  log: Log
  persist: Persist
  stopping: AbortSignal
  tries: number
  retry: Backoff
  gapMs: number
}

export type Drain<Source extends string> = {
  /** Handles what is held of a key, each message in its turn and its transaction, as far as it goes. */
  drainKey(key: string): Promise<void>
  /** Locks the key of a held message and moves it past the message; what is held behind it is drained a little later. */
  moveOn(transaction: Transaction, message: Read<Source>): Promise<void>
  /** The timer by which a message waits for one that is missing. */
  gapTimer(message: Pick<Read<Source>, 'key' | 'record'>): NewTimer
  /** Asks an operator when a message has waited too long. */
  gaps: TimerDefinition<Source>
  /** Does what `drainKey` does, for whoever died before it was through. */
  drains: TimerDefinition<Source>
  report(message: Read<Source>, status: string, because: HeldBecause): void
}

const keyData = z.object({ key: z.string() })

/** Whoever lets a key go on drains it at once; after this long somebody else looks. */
const drainAfterMs = 2_000

/** What becomes of the messages that a consumer holds. */
export const createDrain = <Source extends string>(options: DrainOptions<Source>): Drain<Source> => {
  const { name, read, postgres, outbox, committed, log, persist, stopping, tries, retry, gapMs } = options
  const gapKind = `gap:${name}`
  const drainKind = `drain:${name}`

  const report = ({ key, position, record }: Read<Source>, status: string, because: HeldBecause): void => {
    const fields = { consumer: name, key, position, type: record.headers['ce_type'], because }
    if (status === 'waiting') log.warn(fields, 'a message waits for one that is missing before it')
    else {
      messagesParked.inc({ consumer: name })
      log.error(fields, 'a message was parked')
    }
  }

  const gapTimer = ({ key, record }: Pick<Read<Source>, 'key' | 'record'>) => ({
    kind: gapKind,
    key,
    inMs: gapMs,
    data: { key },
    trace: traceOf(record),
  })

  const judge = async (run: Run, state: KeyState, message: Read<Source>) => {
    const judged = judgeHead(state, message)
    return judged === 'wait' && (await holdsRestatement(run, name, message.key)) ? 'apply' : judged
  }

  const drainTimer = (message: Pick<Read<Source>, 'key' | 'record'>, inMs: number) => ({
    ...gapTimer(message),
    kind: drainKind,
    inMs,
  })

  /** Handles the first held message of a key if its turn has come; says whether the next may follow. */
  const drainHead = async (
    transaction: Transaction,
    key: string,
  ): Promise<{ head: Head; failed: unknown } | boolean> => {
    const { run } = transaction
    const state = (await lockKeys(run, name, [key])).get(key)
    if (!state?.blocked) return false
    const head = await headOf(run, name, key)
    if (!head) {
      transaction.finishWith(keepKeys(name, [[key, { ...state, blocked: false }]]))
      return false
    }
    const message = read(head.record, head.position)
    const judged = await judge(run, state, message)
    if (head.status === 'parked' && !(head.code === 'gap' && judged === 'apply')) return false
    if (judged === 'apply') {
      try {
        await transaction.savepoint(async () => {
          outbox.append(transaction, isWanted(message) ? await runHandlers(name, transaction, [message]) : [])
        })
      } catch (error) {
        if (isTransient(error)) throw error
        return { head, failed: error }
      }
      await resolveHeld(run, head.id, { status: 'redriven', by: 'its turn' })
      transaction.finishWith(keepKeys(name, [[key, { ...state, sequence: message.sequence ?? state.sequence }]]))
      return true
    }
    const error = message.kind === 'poison' ? message.error : undefined
    if (judged === 'wait') {
      await markHeld(run, head.id, {
        status: 'waiting',
        because: 'gap',
        error: explain('gap', message, state),
        attempts: 0,
      })
      await setTimers(transaction.tx, [gapTimer(message)])
      return false
    }
    await markHeld(run, head.id, {
      status: 'parked',
      because: judged,
      error: error ?? explain(judged, message, state),
      attempts: 0,
    })
    report(message, 'parked', judged)
    return judged === 'step-back'
  }

  const drainKey = async (key: string): Promise<void> => {
    const abandoned = untilStopped(stopping)
    for (let attempts = 1; !stopping.aborted;) {
      const outcome = await persist(abandoned, () =>
        postgres.transaction((transaction) => drainHead(transaction, key), 'held.commit'),
      )
      if (outcome === false) return
      committed()
      if (outcome === true) {
        attempts = 1
        continue
      }
      const { head, failed } = outcome
      if (failed instanceof DomainError || attempts >= tries) {
        await parkHead(head, failed, attempts, abandoned)
        return
      }
      await sleep(backoffMs(attempts, retry), stopping)
      attempts += 1
    }
  }

  const parkHead = (head: Head, error: unknown, attempts: number, abandoned: Abandoned) =>
    persist(abandoned, async () => {
      const emitted: Emitted[] = []
      await postgres.transaction(async (transaction) => {
        const message = read(head.record, head.position)
        await markHeld(transaction.run, head.id, { status: 'parked', because: 'poison', error, attempts })
        if (isWanted(message)) await message.handler.gaveUp?.(contextOf(transaction, emitted), message.message, error)
        outbox.append(transaction, emitted)
        report(message, 'parked', 'poison')
      }, 'held.park')
      if (emitted.length > 0) committed()
    })

  const gaps = onTimer<Source, z.infer<typeof keyData>>(
    gapKind,
    keyData,
    async ({ transaction }, { data: { key } }) => {
      const { run } = transaction
      const state = (await lockKeys(run, name, [key])).get(key)
      const head = state?.blocked ? await headOf(run, name, key) : undefined
      if (!state || !head || head.status === 'parked') return
      const message = read(head.record, head.position)
      if (head.status === 'waiting' && (await judge(run, state, message)) === 'wait') {
        const error = explain('gap', message, state)
        await markHeld(run, head.id, { status: 'parked', because: 'gap', error, attempts: 0 })
        report(message, 'parked', 'gap')
      } else {
        // Whoever was to let it follow has died.
        await setTimers(transaction.tx, [drainTimer(message, 0)])
      }
    },
  )

  // Not in the timer's own transaction, which would lock the key: the timer is there until all is drained.
  const drains = onTimer<Source, z.infer<typeof keyData>>(drainKind, keyData, (_, { data: { key } }) => drainKey(key))

  /** Moves the key of a held message past it. */
  const moveOn = async (transaction: Transaction, message: Read<Source>): Promise<void> => {
    const state = (await lockKeys(transaction.run, name, [message.key])).get(message.key) ?? start
    const sequence = Math.max(state.sequence, message.sequence ?? 0)
    transaction.finishWith(keepKeys(name, [[message.key, { ...state, sequence }]]))
    await setTimers(transaction.tx, [drainTimer(message, drainAfterMs)])
  }

  return { drainKey, moveOn, gapTimer, gaps, drains, report }
}

/** Why a message is held, in a sentence. */
export const explain = (because: HeldBecause, { sequence }: { sequence: number | undefined }, state = start): Error => {
  switch (because) {
    case 'gap':
      return new Error(`Its sequence is ${sequence}, and the last of its key is ${state.sequence}.`)
    case 'step-back':
      return new Error(`Its sequence is ${sequence}, which its key has passed with another message.`)
    case 'behind':
      return new Error('It waits behind another message of its key.')
    case 'poison':
      return new Error('It cannot be handled.')
  }
}

const traceOf = ({ headers }: RawRecord): Trace => {
  const id = headers['ce_id'] ?? 'unknown'
  return { correlationId: headers['ce_correlationid'] ?? id, causationId: id }
}
