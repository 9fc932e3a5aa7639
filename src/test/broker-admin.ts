import { Kafka, logLevel } from 'kafkajs'
import { withAdmin } from '#platform/messaging/kafka-admin'
import type { Environment } from '../config.ts'

/** What the keeper of a broker does to it by hand. */
export const brokerAdmin = (environment: Environment) => {
  const brokers = (environment['KAFKA_BROKERS'] ?? '').split(',')
  const kafka = new Kafka({ brokers, clientId: 'test-admin', logLevel: logLevel.NOTHING })

  return {
    /** Deletes everything that the topics hold, as if it were older than their retention. */
    expire: (topics: string[]) =>
      withAdmin(kafka, async (admin) => {
        for (const topic of topics) {
          const ends = await admin.fetchTopicOffsets(topic)
          await admin.deleteTopicRecords({
            topic,
            partitions: ends.map(({ partition, high }) => ({ partition, offset: high })),
          })
        }
      }),
    deleteTopics: (topics: string[]) => withAdmin(kafka, (admin) => admin.deleteTopics({ topics })),
    /** Forgets how far groups have read whose members are gone: they begin anew. */
    deleteGroups: (groups: string[]) => withAdmin(kafka, (admin) => admin.deleteGroups(groups)),
  }
}
