import type { Finish, Postgres, Run, Transaction, Tx } from '../postgres.ts'
import { traced, traceparentOf } from '../tracing.ts'
import type { Emit, Emittable, Trace } from './message.ts'

/** The keys are spread over this many shards; the relaying processes share the shards out among themselves. */
export const relayShards = 12

/** A message larger than this is refused when it is emitted: the broker would refuse it after the commit, for ever. */
export const maxMessageBytes = 900_000

/** `transaction` is the same transaction, for mechanisms of the platform. */
export type Transact<Source extends string> = <T>(
  work: (tx: Tx, emit: Emit<Source>, transaction: Transaction) => Promise<T>,
) => Promise<T>

export type Outbox<Source extends string> = {
  /**
   * Runs `work` in one transaction: what it writes through `tx` and the messages it emits commit together or not at all.
   * After the commit the relay of this process is woken in memory.
   * What `keep` makes of the result commits with it.
   * @throws what `work` throws, after a rollback; `UnavailableError` when the database is away or the commit unconfirmed.
   */
  transact(trace: Trace, keep?: Keep): Transact<Source>
  /** Adds messages to a transaction that is already open, as its last statement. */
  append(transaction: Transaction, emitted: Emitted[]): void
}

/** Makes the statement that records a transaction's result, to commit with it. */
export type Keep = (result: unknown) => Finish

/** A message together with the story it belongs to; its id is made by the outbox unless its emitter has to know it. */
export type Emitted = { message: Emittable<string>; trace: Trace; id?: string }

/** An id for a message whose emitter has to know it. */
export const newMessageId = (): string => Bun.randomUUIDv7()

/** The ids that emitted messages were given. */
export const idsOf = (emitted: Emitted[]): string[] => emitted.flatMap(({ id }) => (id === undefined ? [] : [id]))

export type OutboxOptions<Source extends string> = {
  source: Source
  /** The topics that the module says it sends to; a message to another is refused. Without it, to all. */
  emitsTo?: string[]
  postgres: Pick<Postgres, 'transaction'>
  newId: () => string
  now: () => Date
  /** Called after a commit that holds messages. */
  committed: () => void
}

const insertMessages = `with emitted as (
  select * from json_to_recordset($1) as row(
    shard smallint, message_id uuid, topic text, key text, type text, source text, subject text, sequence bigint,
    occurred_at text, correlation_id text, causation_id text, traceparent text, value text)
),
remembered as (
  insert into emitted_messages (message_id, topic, key, type, occurred_at, correlation_id, causation_id)
  select message_id, topic, key, type, occurred_at, correlation_id, causation_id from emitted
)
insert into outbox
  (shard, message_id, topic, key, type, source, subject, sequence, occurred_at, correlation_id, causation_id, traceparent, value)
select * from emitted`

/** Makes the transactional outbox of the module `source`. */
export const createOutbox = <Source extends string>(options: OutboxOptions<Source>): Outbox<Source> => {
  const { source, emitsTo, postgres, newId, now, committed } = options

  const row = ({ message, trace, id = newId() }: Emitted) => {
    // The broker would refuse it after the commit, for ever.
    if (emitsTo && !emitsTo.includes(message.topic.name))
      throw new Error(
        `${source} does not say that it sends to ${message.topic.name}: add it to \`sends\` in its index.ts.`,
      )
    const value = JSON.stringify(message.data)
    if (Buffer.byteLength(value) > maxMessageBytes) {
      throw new Error(`The message ${message.type} of ${message.subject} is larger than ${maxMessageBytes} bytes.`)
    }
    return {
      shard: shardOf(message.key),
      message_id: id,
      topic: message.topic.name,
      key: message.key,
      type: message.type,
      source,
      subject: message.subject,
      sequence: message.sequence,
      occurred_at: now().toISOString(),
      correlation_id: trace.correlationId,
      causation_id: trace.causationId,
      traceparent: traceparentOf(trace, id),
      value,
    }
  }

  const append: Outbox<Source>['append'] = (transaction, emitted) => {
    if (emitted.length === 0) return
    transaction.finishWith({ text: insertMessages, parameters: [JSON.stringify(emitted.map(row))] })
  }

  return {
    append,
    transact: (given, keep) => (work) =>
      traced(`${source} transaction`, 'internal', given, async (trace) => {
        const emitted: Emitted[] = []
        const result = await postgres.transaction(async (transaction) => {
          const emit: Emit<Source> = (message) => void emitted.push({ message, trace })
          const answer = await work(transaction.tx, emit, transaction)
          append(transaction, emitted)
          if (keep) transaction.finishWith(keep(answer))
          return answer
        })
        if (emitted.length > 0) committed()
        return result
      }),
  }
}

/** The shard of a key; every process must agree on it. */
export const shardOf = (key: string): number => Bun.hash.crc32(key) % relayShards

/** How many messages wait, and since when the oldest of them. */
export const outboxDepth = async (run: Run): Promise<{ waiting: number; oldest: Date | undefined }> => {
  const [row] = await run('select count(*)::int as waiting, min(occurred_at) as oldest from outbox')
  return {
    waiting: Number(row?.['waiting'] ?? 0),
    oldest: row?.['oldest'] ? new Date(String(row['oldest'])) : undefined,
  }
}
