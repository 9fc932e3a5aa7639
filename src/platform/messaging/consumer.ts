import { DomainError, messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Postgres, Transaction } from '../postgres.ts'
import { inboxDuplicates, messagesHandled, messagesParked, retries } from '../metrics.ts'
import { backoffMs, sleep } from '../retry.ts'
import { type TimerDefinition, setTimers } from '../timers.ts'
import type { RawRecord } from './cloud-event.ts'
import { createDrain, explain } from './drain.ts'
import { createGroupCommit } from './group-commit.ts'
import {
  type ConsumerDefinition,
  type Read,
  type Wanted,
  contextOf,
  createReader,
  isWanted,
  runHandlers,
} from './handler.ts'
import { type Holding, holdMessages, knownPositions } from './held.ts'
import { admit, admittedOf, handledAmong, joinedAt, keepKeys, lockKeys, timeOfId } from './inbox.ts'
import { createJudge } from './judge.ts'
import { type Broker, type PartitionBatch, type Subscription, inHandAtMost } from './kafka.ts'
import { type HeldBecause, start, takeTurns } from './key-order.ts'
import { consumerName } from './message.ts'
import type { Emitted, Outbox } from './outbox.ts'
import { type Abandoned, createPersist, watchHeartbeat } from './patience.ts'
import { createTakeover } from './takeover.ts'
import type { Trial } from './trial.ts'

export { type ConsumerDefinition, type Handler, type HandlerContext, onBatch, onEach } from './handler.ts'

export type ConsumerOptions<Source extends string> = {
  module: Source
  definition: ConsumerDefinition<Source>
  postgres: Pick<Postgres, 'transaction' | 'run'>
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
  /** Tries a message that a process died with; without it, such a message is handled like any other. */
  trial?: Trial
}

export type Consumer<Source extends string = string> = Subscription & {
  name: string
  /** The types of messages that it handles. */
  types: string[]
  /** Handles records as if they had been fetched; the way in for tests of redelivery. */
  handle(batch: PartitionBatch): Promise<void>
  /** Handles one held record inside a transaction that is open already. @throws what the handler throws */
  redrive(transaction: Transaction, record: RawRecord): Promise<void>
  /** Handles one record once, as if it had been fetched. @throws what the handler throws */
  attempt(record: RawRecord, position: string): Promise<void>
  /** Locks the key of a held record and moves it past the record, in a transaction that is open already. */
  pass(transaction: Transaction, record: RawRecord): Promise<void>
  /** Handles what is held of a record's key, in its order, as far as it goes. */
  drain(record: RawRecord): Promise<void>
  /** Asks an operator when a message has waited too long for one that is missing. */
  gaps: TimerDefinition<Source>
  /** Goes on with a drain whose process died. */
  drains: TimerDefinition<Source>
}

/**
 * Consumes a topic for a module. Many messages share one transaction with their inbox rows; when it fails they are
 * handled one by one: a `DomainError` parks the message at once, a transient fault is retried until it passes, any other
 * fault `tries` times and then parked. Each key's messages are applied in their order and without a gap: one that is parked,
 * or waits for one that is missing, holds up its own key and no other. Types nobody handles are passed over.
 */
export const createConsumer = <Source extends string>(options: ConsumerOptions<Source>): Consumer<Source> => {
  const { module, definition, postgres, outbox, broker, log, committed } = options
  const { batchSize = 500, tries = 5, retry = { firstMs: 100, maxMs: 5_000 }, gapMs = 30_000, trial } = options
  const name = consumerName(module, definition.topic)
  const stopping = new AbortController()
  const read = createReader(definition)
  // Who waits for a service that is away finds it again within about a second.
  const persist = createPersist({ log, name, retry: { ...retry, maxMs: Math.min(retry.maxMs, 1_000) } })
  const held = createDrain<Source>({
    name,
    read,
    postgres,
    outbox,
    committed,
    log,
    persist,
    stopping: stopping.signal,
    tries,
    retry,
    gapMs,
  })
  const takeover = createTakeover({
    name,
    postgres,
    inHand: inHandAtMost,
    ends: () => broker.ends(definition.topic.name),
  })
  const judge = trial && createJudge({ name, takeover, trial, persist, log, retry })
  let joined: number | undefined

  /** Those that the consumer has not met before, in their order. To be sent in front of `lockKeys`. */
  const meet = async ({ run }: Transaction, arrived: Read<Source>[]): Promise<Read<Source>[]> => {
    const nameless = arrived.filter(({ kind, id }) => kind === 'poison' && id === undefined)
    const named = arrived.flatMap(({ kind, id, record }) =>
      kind === 'passed' || id === undefined ? [] : [admittedOf(id, record)],
    )
    const [fresh, known] = await Promise.all([
      admit(run, name, named),
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
    messages: {
      message: Read<Source>
      status: Holding['status']
      because: HeldBecause
      error: unknown
      attempts: number
    }[],
  ): Promise<void> => {
    if (messages.length === 0) return
    const holdings = messages.map(({ message, ...rest }): Holding => {
      const { record, position, id, sequence } = message
      const type = message.kind === 'wanted' ? message.message.type : record.headers['ce_type']
      return { record, position, messageId: id, type, sequence, ...rest }
    })
    transaction.finishWith(holdMessages(name, holdings))
    const waiting = messages.filter(({ status }) => status === 'waiting')
    await setTimers(
      transaction.tx,
      waiting.map(({ message }) => held.gapTimer(message)),
    )
  }

  const join = () => postgres.transaction(({ run }) => joinedAt(run, name), 'consumer.join')

  /** Whether a key was there before this consumer; one that is no UUIDv7 tells no age, and counts as older. */
  const isOlder = (key: string): boolean => (timeOfId(key) ?? 0) < (joined ?? Infinity)

  /** Handles messages in one transaction; says whether any that is handled at all had not been yet. */
  const apply = async (arrived: Read<Source>[]): Promise<boolean> => {
    joined ??= await join()
    const after: (() => void)[] = []
    const applied = await postgres.transaction(async (transaction) => {
      const [fresh, keys] = await Promise.all([
        meet(transaction, arrived),
        lockKeys(transaction.run, name, [...new Set(arrived.map(({ key }) => key))]),
      ])
      const repeated = arrived.length - fresh.length
      if (repeated > 0) after.push(() => inboxDuplicates.inc({ consumer: name }, repeated))
      if (fresh.length === 0) return undefined
      after.push(() => messagesHandled.inc({ consumer: name }, fresh.length))
      const before = new Map(keys)
      const turns = takeTurns(keys, fresh, isOlder)
      const emitted = await runHandlers(name, transaction, turns.apply.filter(isWanted))
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
        if (because !== 'behind') after.push(() => held.report(turn, status, because))
      }
      return { filled: turns.filled, isNew: fresh.some(({ kind }) => kind !== 'passed') }
    }, 'consumer.commit')
    for (const tell of after) tell()
    for (const key of new Set(applied?.filled)) await held.drainKey(key)
    return applied?.isNew ?? false
  }

  /** Parks a message whose handler failed; its key waits for an operator. */
  const parkFailed = (message: Wanted<Source>, error: unknown, attempts: number, abandoned: Abandoned) =>
    persist(abandoned, async () => {
      const emitted: Emitted[] = []
      const parked = await postgres.transaction(async (transaction) => {
        const [fresh, keys] = await Promise.all([
          meet(transaction, [message]),
          lockKeys(transaction.run, name, [message.key]),
        ])
        if (fresh.length === 0) return false
        await hold(transaction, [{ message, status: 'parked', because: 'poison', error, attempts }])
        const state = keys.get(message.key) ?? start
        transaction.finishWith(keepKeys(name, [[message.key, { ...state, blocked: true }]]))
        await message.handler.gaveUp?.(contextOf(transaction, emitted), message.message, error)
        outbox.append(transaction, emitted)
        return true
      }, 'consumer.park')
      if (!parked) return
      messagesParked.inc({ consumer: name })
      log.error(
        { consumer: name, position: message.position, type: message.message.type, error: messageOf(error), attempts },
        'a message was parked',
      )
      if (emitted.length > 0) committed()
    })

  /** Tries again what is a fault; answers with the error of the last try, or of a refusal. */
  const attemptAll = async (
    position: string,
    abandoned: Abandoned,
    work: () => Promise<unknown>,
  ): Promise<{ error: unknown; attempts: number } | undefined> => {
    for (let attempts = 1; ; attempts += 1) {
      try {
        await persist(abandoned, work)
        return undefined
      } catch (error) {
        abandoned.check()
        if (error instanceof DomainError || attempts >= tries) return { error, attempts }
        retries.inc({ kind: 'consumer', name })
        log.warn(
          { consumer: name, position, error: messageOf(error), attempt: attempts },
          'a message failed; it is tried again',
        )
        await sleep(backoffMs(attempts, retry), abandoned.signal)
      }
    }
  }

  const applyOne = async (message: Read<Source>, abandoned: Abandoned): Promise<void> => {
    const failed =
      (isWanted(message) ? await judge?.(message, abandoned) : undefined) ??
      (await attemptAll(message.position, abandoned, () => takeover.alone(message, () => apply([message]))))
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

  const applyTogether = async (arrived: Read<Source>[], abandoned: Abandoned): Promise<void> => {
    for (let at = 0; at < arrived.length; at += batchSize) {
      abandoned.check()
      await applyChunk(arrived.slice(at, at + batchSize), abandoned)
    }
  }

  /** Handles alone what may have killed another process: neither what had been handled before, nor what nobody handles. */
  const applyWarily = async (arrived: Read<Source>[], abandoned: Abandoned): Promise<void> => {
    const ids = arrived.flatMap(({ id, position }) => (id !== undefined && takeover.isSuspect(position) ? [id] : []))
    const handled = await persist(abandoned, () => handledAmong(postgres.run, name, ids))
    let harmless: Read<Source>[] = []
    for (const message of arrived) {
      abandoned.check()
      const { kind, id = '', position } = message
      if (kind !== 'passed' && takeover.isSuspect(position) && !handled.has(id)) {
        await applyTogether(harmless, abandoned)
        harmless = []
        await applyOne(message, abandoned)
      } else harmless.push(message)
    }
    await applyTogether(harmless, abandoned)
    takeover.passed(arrived.map(({ position }) => position))
  }

  const handle = createGroupCommit(async (batches: PartitionBatch[]) => {
    const abandoned = watchHeartbeat(batches, stopping.signal)
    try {
      const arrived = batches.flatMap(({ partition, records }) =>
        records.map((record) => read(record, `${record.topic}/${partition}/${record.offset}`)),
      )
      await persist(abandoned, () => takeover.begin())
      await (takeover.isWary() ? applyWarily : applyTogether)(arrived, abandoned)
    } finally {
      abandoned.end()
    }
  })

  const subscription = broker.subscribe({
    group: name,
    topic: definition.topic.name,
    handle,
    given: takeover.given,
    lost: takeover.lost,
  })
  return {
    name,
    types: definition.handlers.flatMap(({ types }) => types.map(({ type }) => type)),
    handle,
    redrive: async (transaction, record) => {
      const message = read(record, '')
      if (message.kind === 'poison') throw message.error
      if (!isWanted(message))
        throw new DomainError('not-handled', `Nothing in ${name} handles this message's type any more: skip it.`)
      await admit(transaction.run, name, message.id === undefined ? [] : [admittedOf(message.id, record)])
      outbox.append(transaction, await runHandlers(name, transaction, [message]))
    },
    attempt: async (record, position) => void (await apply([read(record, position)])),
    pass: (transaction, record) => held.moveOn(transaction, read(record, '')),
    drain: (record) => held.drainKey(read(record, '').key),
    gaps: held.gaps,
    drains: held.drains,
    start: async () => {
      // When the database is away, it joins with the first messages.
      joined ??= await join().catch(() => undefined)
      await subscription.start()
    },
    stop: async () => {
      stopping.abort()
      await subscription.stop()
      await takeover.end().catch(() => undefined)
    },
    lastFetchAt: () => subscription.lastFetchAt(),
  }
}
