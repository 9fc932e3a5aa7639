import { z } from 'zod'
import { createLog } from '#platform/log'
import { toHeaders } from '#platform/messaging/cloud-event'
import { type Broker, type OutgoingRecord, type PartitionBatch, openBroker } from '#platform/messaging/kafka'
import {
  type Message,
  type Trace,
  defineCommand,
  defineEvent,
  defineRestatement,
  commandTopic,
  eventTopic,
} from '#platform/messaging/message'

export const silent = createLog({ level: 'silent', readable: false })

export const trace = (): Trace => ({ correlationId: Bun.randomUUIDv7(), causationId: Bun.randomUUIDv7() })

const counters = eventTopic('orders', 'test-counter-events')

/** An event of the module orders, whose schema the tests own. */
export const counted = defineEvent(
  counters,
  'orders.counted.v1',
  z.object({ count: z.int(), note: z.string().optional() }),
)

/** The count again, whatever was counted before. */
export const countRestated = defineRestatement(counters, 'orders.count-restated.v1', counted.schema)

/** The same event on a topic with another name, for tests that share one broker. */
export const countedOn = (name: string) => defineEvent(eventTopic('orders', name), counted.type, counted.schema)

/** A command that the module payments accepts. */
export const pay = defineCommand(
  commandTopic('payments', 'test-payment-commands'),
  'payments.pay.v1',
  z.object({ amount: z.int() }),
)

/** The record that a relay would send for the message. */
export const recordOf = (message: Message, id: string = Bun.randomUUIDv7()): OutgoingRecord & { id: string } => ({
  id,
  topic: message.topic.name,
  key: message.key,
  value: JSON.stringify(message.data),
  headers: toHeaders({
    id,
    topic: message.topic.name,
    key: message.key,
    type: message.type,
    source: message.topic.source,
    subject: message.subject,
    sequence: message.sequence,
    time: new Date().toISOString(),
    trace: trace(),
    value: '',
  }),
})

/** Records as a consumer's broker hands them over, from `offset` on. */
export const batchOf = (
  records: { topic: string; key: string; value: string | Buffer; headers: Record<string, string> }[],
  { partition = 0, offset = 0, heartbeat = () => Promise.resolve() } = {},
): PartitionBatch => ({
  partition,
  heartbeat,
  records: records.map(({ topic, key, headers, value }, index) => ({
    topic,
    key,
    headers,
    value: Buffer.from(value),
    offset: String(offset + index),
  })),
})

/** Stands in for a broker where a test hands the records over itself. */
export const noBroker: Broker = {
  producer: () => ({ send: () => Promise.resolve(), close: () => Promise.resolve() }),
  subscribe: () => ({ start: () => Promise.resolve(), stop: () => Promise.resolve(), lastFetchAt: () => undefined }),
  createTopics: () => Promise.resolve(),
  partitions: () => Promise.resolve(new Map()),
  lag: () => Promise.resolve([]),
  ends: () => Promise.resolve(new Map()),
  signIn: () => Promise.resolve(),
  grant: () => Promise.resolve(false),
  lags: () => Promise.resolve([]),
}

/** The run's broker, with sessions that end soon. */
export const testBroker = (services: { KAFKA_BROKERS: string }, sessionTimeoutMs = 2_000): Broker =>
  openBroker({ brokers: services.KAFKA_BROKERS.split(','), clientId: 'test', log: silent, sessionTimeoutMs })

/** Makes a topic of this test alone. */
export const newTopic = async (broker: Broker, partitions = 4): Promise<string> => {
  const name = `test-${Bun.randomUUIDv7()}`
  await broker.createTopics([{ name, partitions, replication: 1, retentionMs: 3_600_000 }])
  return name
}
