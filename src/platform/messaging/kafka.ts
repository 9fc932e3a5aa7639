import {
  type Consumer as KafkaConsumer,
  type EachBatchPayload,
  Kafka,
  type KafkaConfig,
  type KafkaMessage,
  type Producer as KafkaProducer,
  Partitioners,
  logLevel,
} from 'kafkajs'
import { durable } from '../durable.ts'
import { messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import { backoffMs, sleep } from '../retry.ts'
import { type Trusted, verified } from '../tls.ts'
import { type RawRecord, headerTexts } from './cloud-event.ts'
import { type BrokerAdmin, createAdmin } from './kafka-admin.ts'

export type BrokerSettings = {
  /** `host:port` of each bootstrap broker. */
  brokers: string[]
  clientId: string
  log: Log
  /** Encrypted, by certificates that `ca` vouches for. */
  ssl?: boolean
  sasl?: { mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; username: string; password: string }
  /** After this long without a heartbeat a consumer's partitions go to another process. */
  sessionTimeoutMs?: number
} & Trusted

export type OutgoingRecord = { topic: string; key: string; value: string; headers: Record<string, string> }

export type Producer = {
  /** Resolves when the broker has acknowledged every record; rejects when any was not, and the same call may be repeated. */
  send(records: OutgoingRecord[]): Promise<void>
  close(): Promise<void>
}

/** So many records of a partition are in hand at most. */
export const inHandAtMost = 25

/** Up to `inHandAtMost` records of one partition, in order, with where they came from. */
export type PartitionBatch = {
  partition: number
  records: (RawRecord & { offset: string })[]
  heartbeat: () => Promise<void>
}

export type ConsumeOptions = {
  group: string
  topic: string
  /**
   * Handles the records; when it resolves, their offsets may be committed. It is called for several partitions at
   * once, never twice at once for one. It must call `heartbeat` at least each third of the session timeout.
   */
  handle: (batch: PartitionBatch) => Promise<void>
  /** Is told which partitions this process has been given, before it is handed their records. */
  given?: (partitions: number[]) => void
  /** Is told that the partitions are being given out anew. */
  lost?: () => void
}

export type Subscription = {
  start(): Promise<void>
  /** Commits the offsets of what is done, finishes what is in hand and leaves the group. */
  stop(): Promise<void>
  /** When the last fetch was answered, in milliseconds of the epoch; undefined before the first. */
  lastFetchAt(): number | undefined
}

export type Broker = BrokerAdmin & {
  producer(): Producer
  subscribe(options: ConsumeOptions): Subscription
}

/**
 * So long the broker keeps a fetch that finds nothing. A long one costs less at rest; heartbeats, and the end of a consumer,
 * wait for it.
 */
const fetchWaitMs = (sessionTimeoutMs: number): number => Math.min(1_000, Math.max(500, sessionTimeoutMs / 6))

const commitWithinMs = 250
const commitAgainMs = 1_000

/** A client of a Kafka-protocol broker (Kafka, Redpanda). Here and in `kafka-admin.ts` kafkajs is known, and nowhere else. */
export const openBroker = (settings: BrokerSettings): Broker => {
  const kafka = new Kafka(clientConfig(settings))
  return {
    ...createAdmin(kafka, settings),
    producer: () => createProducer(kafka),
    subscribe: (options) => createSubscription(kafka, settings, options),
  }
}

const clientConfig = ({ brokers, clientId, ssl, ca, sasl, log }: BrokerSettings): KafkaConfig => ({
  brokers,
  clientId,
  connectionTimeout: 3_000,
  requestTimeout: 15_000,
  retry: { initialRetryTime: 50, maxRetryTime: 1_000, retries: 5 },
  logLevel: logLevel.WARN,
  // What matters of it is reported by whoever gets the error.
  logCreator:
    () =>
    ({ namespace, level, log: { message, error } }) =>
      log.debug({ kafka: namespace, level, ...(error ? { error: String(error) } : {}) }, message),
  ...(ssl ? { ssl: verified({ ca }) } : {}),
  ...(sasl ? { sasl: sasl as NonNullable<KafkaConfig['sasl']> } : {}),
})

const createProducer = (kafka: Kafka): Producer => {
  let current: Promise<KafkaProducer> | undefined
  const connect = async () => {
    const producer = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      createPartitioner: Partitioners.DefaultPartitioner,
      allowAutoTopicCreation: false,
    })
    await producer.connect()
    return producer
  }
  const discard = async () => {
    const failed = current
    current = undefined
    await failed?.then((producer) => producer.disconnect()).catch(() => undefined)
  }
  return {
    send: async (records) => {
      current ??= connect()
      try {
        const producer = await current
        await durable('relay.send', () => producer.sendBatch({ acks: -1, topicMessages: byTopic(records) }))
      } catch (error) {
        // A producer whose idempotent sequence is broken refuses every later batch: the next try starts with a new one.
        await discard()
        throw error
      }
    },
    close: discard,
  }
}

const byTopic = (records: OutgoingRecord[]) => {
  const topics = new Map<string, OutgoingRecord[]>()
  for (const record of records) {
    const messages = topics.get(record.topic)
    if (messages) messages.push(record)
    else topics.set(record.topic, [record])
  }
  return [...topics].map(([topic, messages]) => ({ topic, messages }))
}

const createSubscription = (kafka: Kafka, settings: BrokerSettings, options: ConsumeOptions): Subscription => {
  const { group, topic, handle } = options
  const { log, sessionTimeoutMs = 6_000 } = settings
  const stopping = new AbortController()
  let consumer: KafkaConsumer | undefined
  let starting: Promise<void> | undefined
  let lastFetch: number | undefined
  let handled = new Map<number, string>()
  let committing: Promise<void> = Promise.resolve()
  let commitQueued = false
  /**
   * Counts how often partitions were assigned: what was handled before is another process's to commit, which may be further
   * by now. The broker would take the older offset, and its messages would count as not handled until the next one comes.
   */
  let assignment = 0

  const reassigned = () => {
    assignment += 1
    handled = new Map()
  }

  const commit = async (from: KafkaConsumer) => {
    commitQueued = false
    const under = assignment
    const taken = handled
    handled = new Map()
    const offsets = [...taken].map(([partition, offset]) => ({ topic, partition, offset }))
    try {
      if (offsets.length > 0) await durable('consumer.offsets', () => from.commitOffsets(offsets))
    } catch (error) {
      if (under === assignment) handled = new Map([...taken, ...handled])
      throw error
    }
  }

  /** Commits behind the handler's back, for many batches at once, and again later when it fails. */
  const commitSoon = (from: KafkaConsumer, inMs = commitWithinMs) => {
    if (commitQueued || stopping.signal.aborted) return
    commitQueued = true
    setTimeout(() => {
      committing = committing
        .then(() => commit(from))
        .catch((error: unknown) => {
          log.debug({ group, error: messageOf(error) }, 'offsets were not committed; the inbox drops what comes again')
          if (handled.size > 0) commitSoon(from, commitAgainMs)
        })
    }, inMs).unref()
  }

  const toRecord = (message: KafkaMessage) => ({
    topic,
    key: message.key?.toString('utf8') ?? '',
    headers: headerTexts(message.headers),
    value: message.value ?? Buffer.alloc(0),
    offset: message.offset,
  })

  /** What is done of a large batch is committed soon, whatever happens to the rest; the inbox drops what was not yet. */
  const eachBatch = async (from: KafkaConsumer, payload: EachBatchPayload) => {
    const { batch, heartbeat } = payload
    const { partition, messages } = batch
    const under = assignment
    for (let at = 0; at < messages.length; at += inHandAtMost) {
      if (!payload.isRunning() || payload.isStale() || under !== assignment) return
      const records = messages.slice(at, at + inHandAtMost).map(toRecord)
      await handle({ partition, records, heartbeat })
      if (under !== assignment) return
      // The broker may have more behind the last message that is nobody's to read.
      const last = at + inHandAtMost < messages.length ? (records.at(-1)?.offset ?? '') : batch.lastOffset()
      payload.resolveOffset(last)
      handled.set(partition, String(BigInt(last) + 1n))
      commitSoon(from)
    }
  }

  const connect = async () => {
    const next = kafka.consumer({
      groupId: group,
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: sessionTimeoutMs * 2,
      heartbeatInterval: sessionTimeoutMs / 4,
      maxWaitTimeInMs: fetchWaitMs(sessionTimeoutMs),
      allowAutoTopicCreation: false,
      retry: {
        initialRetryTime: 50,
        maxRetryTime: 1_000,
        retries: 8,
        restartOnFailure: () => Promise.resolve(!stopping.signal.aborted),
      },
    })
    next.on(next.events.FETCH, () => {
      lastFetch = Date.now()
    })
    next.on(next.events.REBALANCING, () => {
      reassigned()
      options.lost?.()
    })
    // A member that the broker had given up joins again without that event.
    next.on(next.events.GROUP_JOIN, ({ payload }) => {
      reassigned()
      options.given?.(payload.memberAssignment[topic] ?? [])
    })
    next.on(next.events.CRASH, ({ payload }) => {
      // One that restarts by itself is everyday life with a broker; /readyz tells when it does not come back.
      if (payload.restart) return log.debug({ group, error: messageOf(payload.error) }, 'the consumer restarts')
      log.warn({ group, error: messageOf(payload.error) }, 'the consumer crashed')
      starting = rebuild(next)
    })
    try {
      await next.connect()
      await next.subscribe({ topics: [topic], fromBeginning: true })
      await next.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: 12,
        eachBatch: (payload) => eachBatch(next, payload),
      })
    } catch (error) {
      await next.disconnect().catch(() => undefined)
      throw error
    }
    consumer = next
  }

  const connectUntilItWorks = async () => {
    for (let attempt = 1; !stopping.signal.aborted; attempt += 1) {
      try {
        return await connect()
      } catch (error) {
        log.warn({ group, error: messageOf(error), attempt }, 'the consumer could not start')
        await sleep(backoffMs(attempt, { firstMs: 100, maxMs: 2_000 }), stopping.signal)
      }
    }
  }

  /** kafkajs ends a consumer after a fault that it holds for final; here consumption goes on with a new one. */
  const rebuild = async (crashed: KafkaConsumer) => {
    await crashed.disconnect().catch(() => undefined)
    await connectUntilItWorks()
  }

  return {
    start: () => (starting ??= connectUntilItWorks()),
    stop: async () => {
      stopping.abort()
      await starting
      if (!consumer) return
      await committing
      await commit(consumer).catch(() => undefined)
      await consumer.disconnect().catch(() => undefined)
    },
    lastFetchAt: () => lastFetch,
  }
}
