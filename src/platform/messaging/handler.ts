import type { Transaction, Tx } from '../postgres.ts'
import { type OpenSpan, beginSpan, within } from '../tracing.ts'
import { type RawRecord, UndecodableError, decodeRecord, glimpse } from './cloud-event.ts'
import type { Turn } from './key-order.ts'
import { type Emit, type MessageType, type Received, type Topic, isRestatement } from './message.ts'
import type { Emitted } from './outbox.ts'

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

/** A record as far as it could be read. `id` is missing when it has none that could be one. */
export type Read<Source extends string> = Turn & { record: RawRecord; position: string; id: string | undefined } & (
    | { kind: 'wanted'; message: Received; handler: Handler<Source> }
    | { kind: 'passed' }
    | { kind: 'poison'; error: unknown }
  )

export type Wanted<Source extends string> = Extract<Read<Source>, { kind: 'wanted' }>

export const isWanted = <Source extends string>(message: Read<Source>): message is Wanted<Source> =>
  message.kind === 'wanted'

/** Reads the records of a consumer's topic, and knows who handles them. */
export const createReader = <Source extends string>({ topic, handlers }: ConsumerDefinition<Source>) => {
  const byType = new Map(
    handlers.flatMap((handler) => handler.types.map((type) => [type.type, { handler, schema: type.schema }] as const)),
  )
  // The sequence of a command is nobody's promise.
  const sequenceOf = (sequence: number | undefined) => (topic.kind === 'events' ? sequence : undefined)

  return (record: RawRecord, position: string): Read<Source> => {
    // Postgres takes no NUL in a text.
    const key = record.key.replaceAll('\0', '\ufffd')
    try {
      const message = decodeRecord(record)
      const read = {
        record,
        position,
        key,
        id: message.id.toLowerCase(),
        sequence: sequenceOf(message.sequence),
        restates: topic.kind === 'events' && isRestatement(message.type),
      }
      const known = byType.get(message.type)
      if (!known) return { ...read, kind: 'passed' }
      const data = known.schema.safeParse(message.data)
      if (!data.success) throw new UndecodableError(`The data does not fit ${message.type}: ${data.error.message}`)
      return { ...read, kind: 'wanted', message: { ...message, data: data.data }, handler: known.handler }
    } catch (error) {
      const { id, sequence } = glimpse(record.headers)
      return { record, position, key, id, sequence: sequenceOf(sequence), restates: false, kind: 'poison', error }
    }
  }
}

/** The context of handlers that emit into `emitted`. */
export const contextOf = <Source extends string>(
  transaction: Transaction,
  emitted: Emitted[],
): HandlerContext<Source> => ({
  tx: transaction.tx,
  transaction,
  emitFor: (cause) => (message) => void emitted.push({ message, trace: cause.trace }),
})

/** Runs the handlers over the messages, in their order, and returns what they emitted. */
export const runHandlers = async <Source extends string>(
  consumer: string,
  transaction: Transaction,
  messages: Wanted<Source>[],
): Promise<Emitted[]> => {
  const emitted: Emitted[] = []
  const context = contextOf<Source>(transaction, emitted)
  for (const { handler, run } of runsOf(messages)) {
    const open = run.map(({ message }) => openHandling(consumer, message))
    try {
      await handler.handle(
        context,
        open.map(({ message }) => message),
      )
      for (const { span } of open) span?.end()
    } catch (error) {
      for (const { span } of open) span?.end(error)
      throw error
    }
  }
  return emitted
}

/** The message as its handler gets it: what the handler emits and sets names the handling's span. */
const openHandling = (consumer: string, message: Received): { message: Received; span: OpenSpan | undefined } => {
  const span = beginSpan(`handle ${message.type}`, 'consumer', message.trace)
  if (span === undefined) return { message, span }
  span.set({ 'messaging.system': 'kafka', 'messaging.consumer.group.name': consumer })
  span.set({ 'messaging.message.id': message.id, 'bulkhead.key': message.key })
  return { message: { ...message, trace: within(span, message.trace) }, span }
}

/** Consecutive messages that one handler takes together. */
const runsOf = <Source extends string>(messages: Wanted<Source>[]) => {
  const runs: { handler: Handler<Source>; run: Wanted<Source>[] }[] = []
  for (const message of messages) {
    const last = runs.at(-1)
    if (last?.handler === message.handler) last.run.push(message)
    else runs.push({ handler: message.handler, run: [message] })
  }
  return runs
}
