import { DomainError, isTransient, messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Postgres, Transaction, Tx } from '../postgres.ts'
import { backoffMs, sleep } from '../retry.ts'
import { type RawRecord, UndecodableError, decodeRecord } from './cloud-event.ts'
import { park } from './dead-letter.ts'
import { createGroupCommit } from './group-commit.ts'
import { admit } from './inbox.ts'
import type { Broker, PartitionBatch, Subscription } from './kafka.ts'
import type { Emit, MessageType, Received, Topic } from './message.ts'
import type { Emitted, Outbox } from './outbox.ts'

/** What a handler works with: the transaction of the inbox row, and `emit` into the same transaction. */
export type HandlerContext<Source extends string> = {
  tx: Tx
  /** The same transaction, for mechanisms of the platform. */
  transaction: Transaction
  /** The emitter whose messages name `cause` as what caused them. */
  emitFor(cause: Received): Emit<Source>
}

export type Handler<Source extends string> = {
  types: MessageType<string, Topic['kind'], unknown>[]
  handle(context: HandlerContext<Source>, messages: Received[]): Promise<void>
  /** Runs in the transaction that parks a message. */
  gaveUp?(context: HandlerContext<Source>, message: Received, error: unknown): Promise<void>
}

/** One module's reader of one topic. Its consumer group, and its name in the inbox, is `<module>.<topic>`. */
export type ConsumerDefinition<Source extends string> = { topic: Topic; handlers: Handler<Source>[] }

type EachContext<Source extends string> = { tx: Tx; transaction: Transaction; emit: Emit<Source> }

/** Handles messages of one type one after the other; `gaveUp` runs in the transaction that parks one. */
export const onEach = <Source extends string, Data>(
  type: MessageType<string, Topic['kind'], Data>,
  handle: (context: EachContext<Source>, message: Received<Data>) => Promise<void>,
  gaveUp?: (context: EachContext<Source>, message: Received<Data>, error: unknown) => Promise<void>,
): Handler<Source> => ({
  types: [type],
  handle: async ({ tx, transaction, emitFor }, messages) => {
    for (const message of messages) await handle({ tx, transaction, emit: emitFor(message) }, message as Received<Data>)
  },
  ...(gaveUp && {
    gaveUp: ({ tx, transaction, emitFor }, message, error) =>
      gaveUp({ tx, transaction, emit: emitFor(message) }, message as Received<Data>, error),
  }),
})

/** Handles runs of messages of the given types together, in their order. */
export const onBatch = <Source extends string>(
  types: MessageType<string, Topic['kind'], unknown>[],
  handle: (context: HandlerContext<Source>, messages: Received[]) => Promise<void>,
): Handler<Source> => ({ types, handle })

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
}

export type Consumer = Subscription & {
  name: string
  /** Handles records as if they had been fetched; the way in for a redrive and for tests of redelivery. */
  handle(batch: PartitionBatch): Promise<void>
  /** Runs the handler of one stored record inside a transaction that is open already, whether the inbox has it or not. */
  redrive(transaction: Transaction, record: RawRecord): Promise<void>
}

type Incoming = { record: RawRecord & { offset: string }; position: string }
type Decoded<Source extends string> = Incoming & { message: Received; handler: Handler<Source> }

/**
 * Consumes a topic for a module. Many messages share one transaction with their inbox rows; when it fails they are
 * handled one by one: a `DomainError` parks the message at once, a transient fault is retried until it passes, any other
 * fault `tries` times and then parked. Types nobody handles are passed over, records that cannot be decoded are parked.
 */
export const createConsumer = <Source extends string>(options: ConsumerOptions<Source>): Consumer => {
  const { module, definition, postgres, outbox, broker, log, committed } = options
  const { batchSize = 500, tries = 5, retry = { firstMs: 100, maxMs: 5_000 } } = options
  const name = `${module}.${definition.topic.name}`
  const stopping = new AbortController()
  const handlers = new Map(
    definition.handlers.flatMap((handler) =>
      handler.types.map((type) => [type.type, { handler, schema: type.schema }] as const),
    ),
  )

  const decode = (incoming: Incoming): Decoded<Source> | undefined => {
    const message = decodeRecord(incoming.record)
    const known = handlers.get(message.type)
    if (!known) return undefined
    const data = known.schema.safeParse(message.data)
    if (!data.success) throw new UndecodableError(`The data does not fit ${message.type}: ${data.error.message}`)
    return { ...incoming, message: { ...message, data: data.data }, handler: known.handler }
  }

  const contextOf = (transaction: Transaction, emitted: Emitted[]): HandlerContext<Source> => ({
    tx: transaction.tx,
    transaction,
    emitFor: (cause) => (message) => void emitted.push({ message, trace: cause.trace }),
  })

  const runHandlers = async (transaction: Transaction, messages: Decoded<Source>[]): Promise<Emitted[]> => {
    const emitted: Emitted[] = []
    const context = contextOf(transaction, emitted)
    for (const run of runsOf(messages)) {
      await run.handler.handle(
        context,
        run.messages.map(({ message }) => message),
      )
    }
    return emitted
  }

  const apply = async (messages: Decoded<Source>[]): Promise<void> => {
    const emitted = await postgres.transaction(async (transaction) => {
      const fresh = await admit(transaction.run, name, messages, ({ message }) => message.id)
      if (fresh.length === 0) return []
      const emitted = await runHandlers(transaction, fresh)
      outbox.append(transaction, emitted)
      return emitted
    })
    if (emitted.length > 0) committed()
  }

  const parkRecord = (
    { record, position, message, handler }: Incoming & Partial<Decoded<Source>>,
    error: unknown,
    attempts: number,
    abandoned: Abandoned,
  ) =>
    persist(abandoned, async () => {
      log.error(
        { consumer: name, position, type: message?.type, error: messageOf(error), attempts },
        'a message was parked',
      )
      const emitted: Emitted[] = []
      await park(postgres, { consumer: name, position, record, message, error, attempts }, async (transaction) => {
        if (message) await handler?.gaveUp?.(contextOf(transaction, emitted), message, error)
        outbox.append(transaction, emitted)
      })
      if (emitted.length > 0) committed()
    })

  /** Repeats what fails for a transient reason until it passes or the partition is no longer ours. */
  const persist = async (abandoned: Abandoned, work: () => Promise<void>): Promise<void> => {
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

  const applyOne = async (decoded: Decoded<Source>, abandoned: Abandoned): Promise<void> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await persist(abandoned, () => apply([decoded]))
      } catch (error) {
        abandoned.check()
        if (error instanceof DomainError || attempt >= tries) {
          return parkRecord(decoded, error, attempt, abandoned)
        }
        log.warn(
          { consumer: name, position: decoded.position, error: messageOf(error), attempt },
          'a message failed; it is tried again',
        )
        await sleep(backoffMs(attempt, retry), abandoned.signal)
      }
    }
  }

  const applyChunk = async (chunk: Incoming[], abandoned: Abandoned): Promise<void> => {
    const messages: Decoded<Source>[] = []
    for (const incoming of chunk) {
      try {
        const decoded = decode(incoming)
        if (decoded) messages.push(decoded)
      } catch (error) {
        await parkRecord(incoming, error, 1, abandoned)
      }
    }
    if (messages.length === 0) return
    try {
      await persist(abandoned, () => apply(messages))
    } catch (error) {
      abandoned.check()
      log.debug({ consumer: name, error: messageOf(error), messages: messages.length }, 'the batch failed; one by one')
      for (const message of messages) await applyOne(message, abandoned)
    }
  }

  const handle = createGroupCommit(async (batches: PartitionBatch[]) => {
    const abandoned = watchHeartbeat(batches, stopping.signal)
    try {
      const incoming = batches.flatMap(({ partition, records }) =>
        records.map((record) => ({ record, position: `${record.topic}/${partition}/${record.offset}` })),
      )
      for (let start = 0; start < incoming.length; start += batchSize) {
        abandoned.check()
        await applyChunk(incoming.slice(start, start + batchSize), abandoned)
      }
    } finally {
      abandoned.end()
    }
  })

  const subscription = broker.subscribe({ group: name, topic: definition.topic.name, handle })
  return {
    name,
    handle,
    redrive: async (transaction, record) => {
      const decoded = decode({ record: { ...record, offset: '' }, position: '' })
      if (!decoded)
        throw new DomainError('not-handled', `Nothing in ${name} handles this message's type any more: skip it.`)
      await admit(transaction.run, name, [decoded], ({ message }) => message.id)
      outbox.append(transaction, await runHandlers(transaction, [decoded]))
    },
    start: () => subscription.start(),
    stop: async () => {
      stopping.abort()
      await subscription.stop()
    },
    lastFetchAt: () => subscription.lastFetchAt(),
  }
}

/** Consecutive messages that one handler takes together. */
const runsOf = <Source extends string>(messages: Decoded<Source>[]) => {
  const runs: { handler: Handler<Source>; messages: Decoded<Source>[] }[] = []
  for (const message of messages) {
    const last = runs.at(-1)
    if (last?.handler === message.handler) last.messages.push(message)
    else runs.push({ handler: message.handler, messages: [message] })
  }
  return runs
}

type Abandoned = { signal: AbortSignal; check(): void; end(): void }

const heartbeatEveryMs = 500

/** Keeps the group membership alive while work goes on; `check` throws once the partitions are lost or the process stops. */
const watchHeartbeat = (batches: PartitionBatch[], stopping: AbortSignal): Abandoned => {
  const lost = new AbortController()
  const timer = setInterval(() => {
    batches[0]?.heartbeat().catch((error: unknown) => lost.abort(error))
  }, heartbeatEveryMs)
  const signal = AbortSignal.any([lost.signal, stopping])
  return {
    signal,
    check: () => signal.throwIfAborted(),
    end: () => clearInterval(timer),
  }
}
