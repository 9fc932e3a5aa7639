import {
  type Admin,
  type Consumer as KafkaConsumer,
  type EachBatchPayload,
  Kafka,
  type KafkaConfig,
  type Producer as KafkaProducer,
  Partitioners,
  logLevel,
} from 'kafkajs'
import { messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import { backoffMs, sleep } from '../retry.ts'
import { type RawRecord, headerTexts } from './cloud-event.ts'

export type BrokerSettings = {
  /** `host:port` of each bootstrap broker. */
  brokers: string[]
  clientId: string
  log: Log
  ssl?: boolean
  sasl?: { mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; username: string; password: string }
  /** After this long without a heartbeat a consumer's partitions go to another process. */
  sessionTimeoutMs?: number
}

export type OutgoingRecord = { topic: string; key: string; value: string; headers: Record<string, string> }

export type Producer = {
  /** Resolves when the broker has acknowledged every record; rejects when any was not, and the same call may be repeated. */
  send(records: OutgoingRecord[]): Promise<void>
  close(): Promise<void>
}

/** The records of one partition, in order, with where they came from. */
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
}

export type Subscription = {
  start(): Promise<void>
  /** Finishes what is in hand, commits its offsets and leaves the group. */
  stop(): Promise<void>
  /** When the last fetch was answered, in milliseconds of the epoch; undefined before the first. */
  lastFetchAt(): number | undefined
}

export type TopicSettings = { name: string; partitions: number; replication: number; retentionMs: number }

export type Broker = {
  producer(): Producer
  subscribe(options: ConsumeOptions): Subscription
  /** Creates the topics that do not exist yet; existing ones are left as they are. */
  createTopics(topics: TopicSettings[]): Promise<void>
  /** How many messages of its topic each group has not committed, all asked over one connection. */
  lags(consumers: { group: string; topic: string }[]): Promise<{ group: string; topic: string; behind: number }[]>
  /** The partitions of a topic on which the group has not committed everything, with how many messages it is behind. */
  lag(group: string, topic: string): Promise<{ partition: number; behind: number }[]>
  /** The partition count of each existing topic. */
  partitions(topics: string[]): Promise<Map<string, number>>
}

const fetchWaitMs = 500

const commitWithinMs = 250
const commitAgainMs = 1_000

/** A client of a Kafka-protocol broker (Kafka, Redpanda). The one place that knows kafkajs. */
export const openBroker = (settings: BrokerSettings): Broker => {
  const kafka = new Kafka(clientConfig(settings))
  return {
    producer: () => createProducer(kafka),
    subscribe: (options) => createSubscription(kafka, settings, options),
    createTopics: (topics) => withAdmin(kafka, (admin) => createTopics(admin, topics)),
    lag: (group, topic) => withAdmin(kafka, (admin) => lagOf(admin, group, topic)),
    lags: (consumers) =>
      withAdmin(kafka, (admin) =>
        Promise.all(
          consumers.map(async ({ group, topic }) => {
            const behind = (await lagOf(admin, group, topic)).reduce((sum, { behind }) => sum + behind, 0)
            return { group, topic, behind }
          }),
        ),
      ),
    partitions: (topics) =>
      withAdmin(kafka, async (admin) => {
        const known = new Set(await admin.listTopics())
        const { topics: found } = await admin.fetchTopicMetadata({ topics: topics.filter((name) => known.has(name)) })
        return new Map(found.map(({ name, partitions }) => [name, partitions.length]))
      }),
  }
}

const clientConfig = ({ brokers, clientId, ssl, sasl, log }: BrokerSettings): KafkaConfig => ({
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
  ...(ssl ? { ssl: true } : {}),
  ...(sasl ? { sasl: sasl as NonNullable<KafkaConfig['sasl']> } : {}),
})

const withAdmin = async <T>(kafka: Kafka, work: (admin: Admin) => Promise<T>): Promise<T> => {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

const lagOf = async (admin: Admin, group: string, topic: string) => {
  const ends = await admin.fetchTopicOffsets(topic)
  const [committed] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
  const offsets = new Map(committed?.partitions.map(({ partition, offset }) => [partition, Number(offset)]))
  return ends
    .map(({ partition, low, high }) => ({
      partition,
      behind: Number(high) - Math.max(offsets.get(partition) ?? 0, Number(low)),
    }))
    .filter(({ behind }) => behind > 0)
}

const createTopics = async (admin: Admin, topics: TopicSettings[]): Promise<void> => {
  const existing = new Set(await admin.listTopics())
  const missing = topics.filter(({ name }) => !existing.has(name))
  if (missing.length === 0) return
  await admin.createTopics({
    waitForLeaders: false,
    topics: missing.map(({ name, partitions, replication, retentionMs }) => ({
      topic: name,
      numPartitions: partitions,
      replicationFactor: replication,
      configEntries: [{ name: 'retention.ms', value: String(retentionMs) }],
    })),
  })
  await leadersOf(
    admin,
    missing.map(({ name }) => name),
  )
}

/** Waits up to about 10 s until every partition has a leader; kafkajs itself gives up on a topic that is not known yet. */
const leadersOf = async (admin: Admin, topics: string[]): Promise<void> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const { topics: found } = await admin.fetchTopicMetadata({ topics })
      const led = found.filter(
        ({ partitions }) => partitions.length > 0 && partitions.every(({ leader }) => leader >= 0),
      )
      if (led.length === topics.length) return
      if (attempt >= leaderTries) throw new Error('Some partitions have no leader.')
    } catch (error) {
      if (attempt >= leaderTries) throw error
    }
    await sleep(backoffMs(attempt, { firstMs: 20, maxMs: 500 }))
  }
}

const leaderTries = 30

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
        await producer.sendBatch({ acks: -1, topicMessages: byTopic(records) })
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
      if (offsets.length > 0) await from.commitOffsets(offsets)
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

  const eachBatch = async (from: KafkaConsumer, payload: EachBatchPayload) => {
    const { batch } = payload
    if (!payload.isRunning() || payload.isStale()) return
    const under = assignment
    const records = batch.messages.map((message) => ({
      topic,
      key: message.key?.toString('utf8') ?? '',
      headers: headerTexts(message.headers),
      value: message.value ?? Buffer.alloc(0),
      offset: message.offset,
    }))
    await handle({ partition: batch.partition, records, heartbeat: payload.heartbeat })
    if (under !== assignment) return
    payload.resolveOffset(batch.lastOffset())
    handled.set(batch.partition, String(BigInt(batch.lastOffset()) + 1n))
    commitSoon(from)
  }

  const connect = async () => {
    const next = kafka.consumer({
      groupId: group,
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: sessionTimeoutMs * 2,
      heartbeatInterval: sessionTimeoutMs / 4,
      maxWaitTimeInMs: fetchWaitMs,
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
    next.on(next.events.REBALANCING, reassigned)
    // A member that the broker had given up joins again without that event.
    next.on(next.events.GROUP_JOIN, reassigned)
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
