import { type Environment, parseMigrateConfig, brokerSettings } from '../config.ts'
import { createLog } from '#platform/log'
import { type PartitionBatch, openBroker } from '#platform/messaging/kafka'
import { eventually } from './eventually.ts'

export type TopicRecord = PartitionBatch['records'][number] & { partition: number }

/** Reads a topic from its beginning, in a consumer group of its own. */
export const readTopic = async (environment: Environment, topic: string) => {
  const records: TopicRecord[] = []
  const broker = openBroker({
    ...brokerSettings(parseMigrateConfig(environment)),
    clientId: 'bulkhead-test',
    log: createLog({ level: 'silent', readable: false }),
  })
  const subscription = broker.subscribe({
    group: `test.${Bun.randomUUIDv7()}`,
    topic,
    handle: async ({ partition, records: batch }) => {
      records.push(...batch.map((record) => ({ ...record, partition })))
    },
  })
  await subscription.start()
  const of = (key: string) => records.filter((record) => record.key === key)
  return {
    records,
    of,
    /** The records of a key, once there are that many. */
    eventuallyOf: (key: string, count: number) =>
      eventually(() => {
        const found = of(key)
        if (found.length < count) throw new Error(`${topic} has ${found.length} of ${count} records of ${key}.`)
        return found
      }),
    stop: subscription.stop,
  }
}
