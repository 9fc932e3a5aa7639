import {
  AclOperationTypes,
  AclPermissionTypes,
  AclResourceTypes,
  type Admin,
  type Kafka,
  KafkaJSAggregateError,
  KafkaJSProtocolError,
  KafkaJSSASLAuthenticationError,
  ResourcePatternTypes,
} from 'kafkajs'
import { StartError, certificateFault, messageOf } from '../errors.ts'
import { backoffMs, sleep } from '../retry.ts'
import type { Rights } from './rights.ts'

export type TopicSettings = { name: string; partitions: number; replication: number; retentionMs: number }

/** What is asked of a broker besides messages; each by a connection of its own that ends with the answer. */
export type BrokerAdmin = {
  /**
   * Shows who we are, where the broker asks for it; one that is away is not waited for.
   * @throws StartError when the broker shows a certificate that is not trusted, or does not let us in
   */
  signIn(): Promise<void>
  /** Creates the topics that do not exist yet; existing ones are left as they are. */
  createTopics(topics: TopicSettings[]): Promise<void>
  /** The partitions of a topic on which the group has not committed everything, with how many messages it is behind. */
  lag(group: string, topic: string): Promise<{ partition: number; behind: number }[]>
  /** How many messages of its topic each group has not committed, all asked over one connection. */
  lags(consumers: { group: string; topic: string }[]): Promise<{ group: string; topic: string; behind: number }[]>
  /** The offset after the last message of each partition of a topic. */
  ends(topic: string): Promise<Map<number, bigint>>
  /** The partition count of each existing topic. */
  partitions(topics: string[]): Promise<Map<string, number>>
  /** Adds to the rights that each principal has; false when the broker has no authorizer, and lets everybody do everything. */
  grant(rights: Rights[]): Promise<boolean>
}

type Settings = { brokers: string[]; ssl?: boolean; sasl?: object }

export const createAdmin = (kafka: Kafka, { brokers, ssl, sasl }: Settings): BrokerAdmin => ({
  signIn: async () => {
    if (ssl || sasl) await signIn(kafka, brokers)
  },
  createTopics: (topics) => withAdmin(kafka, (admin) => createTopics(admin, topics)),
  lag: (group, topic) => withAdmin(kafka, (admin) => lag(admin, group, topic)),
  lags: (consumers) =>
    withAdmin(kafka, (admin) => Promise.all(consumers.map(({ group, topic }) => lagOf(admin, group, topic)))),
  ends: (topic) => withAdmin(kafka, (admin) => ends(admin, topic)),
  partitions: (topics) => withAdmin(kafka, (admin) => partitions(admin, topics)),
  grant: (rights) => withAdmin(kafka, (admin) => grant(admin, rights)),
})

/** Does some work by a connection of its own, which ends with it. */
export const withAdmin = async <T>(kafka: Kafka, work: (admin: Admin) => Promise<T>): Promise<T> => {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

const signIn = async (kafka: Kafka, brokers: string[]): Promise<void> => {
  const admin = kafka.admin({ retry: { retries: 0 } })
  try {
    await admin.connect()
  } catch (error) {
    const fault = certificateFault(error)
    const host = brokers.join(',')
    if (fault !== undefined)
      throw new StartError(`The broker at ${host} is not trusted: its certificate ${fault}.`, { cause: error })
    if (error instanceof KafkaJSSASLAuthenticationError)
      throw new StartError(`The broker at ${host} does not let us in: ${messageOf(error)}`, { cause: error })
  } finally {
    await admin.disconnect().catch(() => undefined)
  }
}

const createTopics = async (admin: Admin, topics: TopicSettings[]): Promise<void> => {
  const existing = new Set(await admin.listTopics())
  const missing = topics.filter(({ name }) => !existing.has(name))
  if (missing.length === 0) return
  try {
    await admin.createTopics({
      waitForLeaders: false,
      topics: missing.map(({ name, partitions, replication, retentionMs }) => ({
        topic: name,
        numPartitions: partitions,
        replicationFactor: replication,
        configEntries: [{ name: 'retention.ms', value: String(retentionMs) }],
      })),
    })
  } catch (error) {
    // Its own words do not say what is wrong, and with which topic.
    if (!(error instanceof KafkaJSAggregateError)) throw error
    const refusals = error.errors.map((one) =>
      one instanceof Error && 'topic' in one ? `${String(one.topic)}: ${one.message}` : String(one),
    )
    throw new Error(refusals.join('; '), { cause: error })
  }
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

const lag = async (admin: Admin, group: string, topic: string) => {
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

const lagOf = async (admin: Admin, group: string, topic: string) => {
  const partitions = await lag(admin, group, topic)
  return { group, topic, behind: partitions.reduce((sum, { behind }) => sum + behind, 0) }
}

const ends = async (admin: Admin, topic: string) => {
  const offsets = await admin.fetchTopicOffsets(topic)
  return new Map(offsets.map(({ partition, high }) => [partition, BigInt(high)]))
}

const partitions = async (admin: Admin, topics: string[]) => {
  const known = new Set(await admin.listTopics())
  const { topics: found } = await admin.fetchTopicMetadata({ topics: topics.filter((name) => known.has(name)) })
  return new Map(found.map((topic) => [topic.name, topic.partitions.length]))
}

const grant = async (admin: Admin, rights: Rights[]): Promise<boolean> => {
  const entry =
    (principal: string, resourceType: AclResourceTypes, operation: AclOperationTypes) => (name: string) => ({
      principal: `User:${principal}`,
      host: '*',
      resourceType,
      resourceName: name,
      resourcePatternType: ResourcePatternTypes.LITERAL,
      operation,
      permissionType: AclPermissionTypes.ALLOW,
    })
  const acl = rights.flatMap(({ principal, writes, reads, groups }) => [
    ...writes.map(entry(principal, AclResourceTypes.TOPIC, AclOperationTypes.WRITE)),
    ...reads.map(entry(principal, AclResourceTypes.TOPIC, AclOperationTypes.READ)),
    ...groups.map(entry(principal, AclResourceTypes.GROUP, AclOperationTypes.READ)),
  ])
  try {
    return await admin.createAcls({ acl })
  } catch (error) {
    if (error instanceof KafkaJSProtocolError && error.type === 'SECURITY_DISABLED') return false
    throw error
  }
}
