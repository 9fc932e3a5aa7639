import { z } from 'zod'
import { DomainError, isTransient, messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Postgres, Transaction } from '../postgres.ts'
import { backoffMs, sleep } from '../retry.ts'
import { type TimerDefinition, onTimer, setTimers } from '../timers.ts'
import type { RawRecord } from './cloud-event.ts'
import { createGroupCommit } from './group-commit.ts'
import { type ConsumerDefinition, type Read, type Wanted, contextOf, createReader, runHandlers } from './handler.ts'
import { type Head, type Holding, headOf, holdMessages, knownPositions, markHeld, resolveHeld } from './held.ts'
import { admit, keepKeys, lockKeys } from './inbox.ts'
import type { Broker, PartitionBatch, Subscription } from './kafka.ts'
import { type HeldBecause, judgeHead, start, takeTurns } from './key-order.ts'
import type { Trace } from './message.ts'
import type { Emitted, Outbox } from './outbox.ts'

export { type ConsumerDefinition, type Handler, type HandlerContext, onBatch, onEach } from './handler.ts'

export type ConsumerOptions<Source extends string> = {
  module: Source
  definition: ConsumerDefinition<Source>
  postgres: Pick<Postgres, 'transaction'>
  outbox: Pick<Outbox<Source>, 'append'>
  broker: Broker
  log: Log
  /** Called after a commit that holds emitted messages. */
  committed: () => void
  batchSize?: number
  /** How often a message whose handling is a fault is tried before it is parked. */
  tries?: number
  retry?: { firstMs: number; maxMs: number }
  /** How long a message waits for one that is missing before it, until an operator is asked. */
  gapMs?: number
}

export type Consumer<Source extends string = string> = Subscription & {
  name: string
  /** Handles records as if they had been fetched; the way in for tests of redelivery. */
  handle(batch: PartitionBatch): Promise<void>
  /** Handles one held record inside a transaction that is open already. @throws what the handler throws */
  redrive(transaction: Transaction, record: RawRecord): Promise<void>
  /** Locks the key of a held record and moves it past the record, in a transaction that is open already. */
  pass(transaction: Transaction, record: RawRecord): Promise<void>
  /** Handles what is held of a record's key, in its order, as far as it goes. */
  drain(record: RawRecord): Promise<void>
  /** Asks an operator when a message has waited too long for one that is missing. */
  gaps: TimerDefinition<Source>
}

const gapData = z.object({ key: z.string() })

/**
 * Consumes a topic for a module. Many messages share one transaction with their inbox rows; when it fails they are
 * handled one by one: a `DomainError` parks the message at once, a transient fault is retried until it passes, any other
 * fault `tries` times and then parked. Each key's messages are applied in their order and without a gap: one that is parked,
 * or waits for one that is missing, holds up its own key and no other. Types nobody handles are passed over.
 */
export const createConsumer = <Source extends string>(options: ConsumerOptions<Source>): Consumer<Source> => {
  const { module, definition, postgres, outbox, broker, log, committed } = options
  const { batchSize = 500, tries = 5, retry = { firstMs: 100, maxMs: 5_000 }, gapMs = 30_000 } = options
  const name = `${module}.${definition.topic.name}`
  const gapKind = `gap:${name}`
  const stopping = new AbortController()
  const read = createReader(definition)

  /** Those that the consumer has not met before, in their order. To be sent in front of `lockKeys`. */
  const meet = async ({ run }: Transaction, arrived: Read<Source>[]): Promise<Read<Source>[]> => {
    const nameless = arrived.filter(({ kind, id }) => kind === 'poison' && id === undefined)
    const ids = arrived.flatMap(({ kind, id }) => (kind === 'passed' || id === undefined ? [] : [id]))
    const [fresh, known] = await Promise.all([
      admit(run, name, [...new Set(ids)]),
      nameless.length === 0
        ? new Set<string>()
        : knownPositions(
            run,
            name,
            nameless.map(({ position }) => position),
          ),
    ])
    return arrived.filter(({ kind, id, position }) => {
      if (kind === 'passed') return true
      return id === undefined ? !known.has(position) : fresh.delete(id)
    })
  }

  const hold = async (
    transaction: Transaction,
    held: {
      message: Read<Source>
      status: Holding['status']
      because: HeldBecause
      error: unknown
      attempts: number
    }[],
  ): Promise<void> => {
    if (held.length === 0) return
    const holdings = held.map(({ message, ...rest }): Holding => {
      const { record, position, id, sequence } = message
      const type = message.kind === 'wanted' ? message.message.type : record.headers['ce_type']
      return { record, position, messageId: id, type, sequence, ...rest }
    })
    transaction.finishWith(holdMessages(name, holdings))
    const waiting = held.filter(({ status }) => status === 'waiting')
    await setTimers(
      transaction.tx,
      waiting.map(({ message }) => gapTimer(message)),
    )
  }

  const gapTimer = ({ key, record }: Pick<Read<Source>, 'key' | 'record'>) => ({
    kind: gapKind,
    key,
    dueAt: new Date(Date.now() + gapMs),
    data: { key },
    trace: traceOf(record),
  })

  const apply = async (arrived: Read<Source>[]): Promise<void> => {
    const after: (() => void)[] = []
    const filled = await postgres.transaction(async (transaction) => {
      const [fresh, keys] = await Promise.all([
        meet(transaction, arrived),
        lockKeys(transaction.run, name, [...new Set(arrived.map(({ key }) => key))]),
      ])
      if (fresh.length === 0) return []
      const before = new Map(keys)
      const turns = takeTurns(keys, fresh)
      const emitted = await runHandlers(transaction, turns.apply.filter(isWanted))
      await hold(
        transaction,
        turns.hold.map(({ turn, status, because }) => ({
          message: turn,
          status,
          because,
          error: turn.kind === 'poison' ? turn.error : explain(because, turn, keys.get(turn.key)),
          attempts: 0,
        })),
      )
      const moved = [...keys].filter(([key, state]) => before.get(key) !== state)
      if (moved.length > 0) transaction.finishWith(keepKeys(name, moved))
      outbox.append(transaction, emitted)
      if (emitted.length > 0) after.push(committed)
      for (const { turn, status, because } of turns.hold) {
        if (because !== 'behind') after.push(() => report(turn, status, because))
      }
      return turns.filled
    })
    for (const tell of after) tell()
    for (const key of new Set(filled)) await drainKey(key)
  }

  const report = ({ key, position, record }: Read<Source>, status: string, because: HeldBecause): void => {
    const fields = { consumer: name, key, position, type: record.headers['ce_type'], because }
    if (status === 'waiting') log.warn(fields, 'a message waits for one that is missing before it')
    else log.error(fields, 'a message was parked')
  }

  /** Parks a message whose handler failed; its key waits for an operator. */
  const parkFailed = (message: Wanted<Source>, error: unknown, attempts: number, abandoned: Abandoned) =>
    persist(abandoned, async () => {
      const emitted: Emitted[] = []
      await postgres.transaction(async (transaction) => {
        const [fresh, keys] = await Promise.all([
          meet(transaction, [message]),
          lockKeys(transaction.run, name, [message.key]),
        ])
        if (fresh.length === 0) return
        await hold(transaction, [{ message, status: 'parked', because: 'poison', error, attempts }])
        const state = keys.get(message.key) ?? start
        transaction.finishWith(keepKeys(name, [[message.key, { ...state, blocked: true }]]))
        await message.handler.gaveUp?.(contextOf(transaction, emitted), message.message, error)
        outbox.append(transaction, emitted)
      })
      log.error(
        { consumer: name, position: message.position, type: message.message.type, error: messageOf(error), attempts },
        'a message was parked',
      )
      if (emitted.length > 0) committed()
    })

  /** Repeats what fails for a transient reason until it passes or the partition is no longer ours. */
  const persist = async <T>(abandoned: Abandoned, work: () => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt += 1) {
      abandoned.check()
      try {
        return await work()
      } catch (error) {
        if (!isTransient(error)) throw error
        log.warn({ consumer: name, error: messageOf(error), attempt }, 'a service is away; the messages wait')
        await sleep(backoffMs(attempt, retry), abandoned.signal)
      }
    }
  }

  /** Tries again what is a fault; answers with the error of the last try, or of a refusal. */
  const attemptAll = async (
    position: string,
    abandoned: Abandoned,
    work: () => Promise<void>,
  ): Promise<{ error: unknown; attempts: number } | undefined> => {
    for (let attempts = 1; ; attempts += 1) {
      try {
        return void (await persist(abandoned, work))
      } catch (error) {
        abandoned.check()
        if (error instanceof DomainError || attempts >= tries) return { error, attempts }
        log.warn(
          { consumer: name, position, error: messageOf(error), attempt: attempts },
          'a message failed; it is tried again',
        )
        await sleep(backoffMs(attempts, retry), abandoned.signal)
      }
    }
  }

  const applyOne = async (message: Read<Source>, abandoned: Abandoned): Promise<void> => {
    const failed = await attemptAll(message.position, abandoned, () => apply([message]))
    if (!failed) return
    if (message.kind !== 'wanted') throw failed.error
    await parkFailed(message, failed.error, failed.attempts, abandoned)
  }

  const applyChunk = async (chunk: Read<Source>[], abandoned: Abandoned): Promise<void> => {
    try {
      await persist(abandoned, () => apply(chunk))
    } catch (error) {
      abandoned.check()
      log.debug({ consumer: name, error: messageOf(error), messages: chunk.length }, 'the batch failed; one by one')
      for (const message of chunk) await applyOne(message, abandoned)
    }
  }

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
    if (head.status === 'parked') return false
    const message = read(head.record, head.position)
    const judged = judgeHead(state, message)
    if (judged === 'apply') {
      try {
        await transaction.savepoint(async () => {
          outbox.append(transaction, isWanted(message) ? await runHandlers(transaction, [message]) : [])
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
    const abandoned = untilStopped(stopping.signal)
    for (let attempts = 1; !stopping.signal.aborted;) {
      const outcome = await persist(abandoned, () => postgres.transaction((transaction) => drainHead(transaction, key)))
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
      await sleep(backoffMs(attempts, retry), stopping.signal)
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
      })
      if (emitted.length > 0) committed()
    })

  const gaps = onTimer<Source, z.infer<typeof gapData>>(
    gapKind,
    gapData,
    async ({ transaction }, { data: { key } }) => {
      const { run } = transaction
      const state = (await lockKeys(run, name, [key])).get(key)
      const head = state?.blocked ? await headOf(run, name, key) : undefined
      if (!state || head?.status !== 'waiting') return
      const message = read(head.record, head.position)
      if (judgeHead(state, message) === 'wait') {
        const error = explain('gap', message, state)
        await markHeld(run, head.id, { status: 'parked', because: 'gap', error, attempts: 0 })
        report(message, 'parked', 'gap')
      } else {
        // Whoever was to let it follow has died.
        setTimeout(() => void drainKey(key).catch(() => undefined))
      }
    },
  )

  const handle = createGroupCommit(async (batches: PartitionBatch[]) => {
    const abandoned = watchHeartbeat(batches, stopping.signal)
    try {
      const arrived = batches.flatMap(({ partition, records }) =>
        records.map((record) => read(record, `${record.topic}/${partition}/${record.offset}`)),
      )
      for (let at = 0; at < arrived.length; at += batchSize) {
        abandoned.check()
        await applyChunk(arrived.slice(at, at + batchSize), abandoned)
      }
    } finally {
      abandoned.end()
    }
  })

  /** Moves the key of a held message past it. */
  const moveOn = async (transaction: Transaction, message: Read<Source>): Promise<void> => {
    const state = (await lockKeys(transaction.run, name, [message.key])).get(message.key) ?? start
    const sequence = Math.max(state.sequence, message.sequence ?? 0)
    transaction.finishWith(keepKeys(name, [[message.key, { ...state, sequence }]]))
  }

  const subscription = broker.subscribe({ group: name, topic: definition.topic.name, handle })
  return {
    name,
    handle,
    redrive: async (transaction, record) => {
      const message = read(record, '')
      if (message.kind === 'poison') throw message.error
      if (!isWanted(message))
        throw new DomainError('not-handled', `Nothing in ${name} handles this message's type any more: skip it.`)
      await admit(transaction.run, name, message.id === undefined ? [] : [message.id])
      outbox.append(transaction, await runHandlers(transaction, [message]))
    },
    pass: (transaction, record) => moveOn(transaction, read(record, '')),
    drain: (record) => drainKey(read(record, '').key),
    gaps,
    start: () => subscription.start(),
    stop: async () => {
      stopping.abort()
      await subscription.stop()
    },
    lastFetchAt: () => subscription.lastFetchAt(),
  }
}

const isWanted = <Source extends string>(message: Read<Source>): message is Wanted<Source> => message.kind === 'wanted'

const explain = (because: HeldBecause, { sequence }: { sequence: number | undefined }, state = start): Error => {
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

type Abandoned = { signal: AbortSignal; check(): void; end(): void }

const untilStopped = (signal: AbortSignal): Abandoned => ({
  signal,
  check: () => signal.throwIfAborted(),
  end: () => undefined,
})

const heartbeatEveryMs = 500

/** Keeps the group membership alive while work goes on; `check` throws once the partitions are lost or the process stops. */
const watchHeartbeat = (batches: PartitionBatch[], stopping: AbortSignal): Abandoned => {
  const lost = new AbortController()
  const timer = setInterval(() => {
    batches[0]?.heartbeat().catch((error: unknown) => lost.abort(error))
  }, heartbeatEveryMs)
  return { ...untilStopped(AbortSignal.any([lost.signal, stopping])), end: () => clearInterval(timer) }
}
