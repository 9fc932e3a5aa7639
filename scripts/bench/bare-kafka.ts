import { Kafka, Partitioners, type Producer, logLevel } from 'kafkajs'
import { openBroker } from '#platform/messaging/kafka'
import { brokerSettings } from '../../src/config.ts'
import type { Bench } from './scenario.ts'

/** kafkajs without anything of ours around it, for the limits. */
export const bareKafka = ({ config }: Pick<Bench, 'config'>): Kafka =>
  new Kafka({ brokers: config.KAFKA_BROKERS, clientId: 'bench-bare', logLevel: logLevel.NOTHING })

export const bareProducer = async (bench: Pick<Bench, 'config'>): Promise<Producer> => {
  const producer = bareKafka(bench).producer({
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: Partitioners.DefaultPartitioner,
  })
  await producer.connect()
  return producer
}

/** A broker as the process opens it. */
export const ourBroker = ({ config, log }: Pick<Bench, 'config' | 'log'>) =>
  openBroker({ ...brokerSettings(config), clientId: 'bench', log, sessionTimeoutMs: config.KAFKA_SESSION_TIMEOUT_MS })

export const createTopic = (bench: Bench, name: string): Promise<void> =>
  ourBroker(bench).createTopics([{ name, partitions: 12, replication: 1, retentionMs: 600_000 }])
