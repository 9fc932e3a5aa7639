import { type MigrateConfig, type ModuleName, brokerSettings, parseMigrateConfig, principalOf } from '../src/config.ts'
import { ordersTraffic } from '#modules/orders'
import { paymentsTraffic } from '#modules/payments'
import { ensureOperator, users } from '#modules/users'
import { StartError, UnavailableError, messageOf } from '#platform/errors'
import { createFailureLimit } from '#platform/failure-limit'
import { createLog } from '#platform/log'
import { type Broker, openBroker } from '#platform/messaging/kafka'
import { type Traffic, rightsOf } from '#platform/messaging/rights'
import { migrateModule } from '#platform/migrations'
import { hostModule } from '#platform/module'
import { createPasswords } from '#platform/passwords'
import { openPostgres } from '#platform/postgres'
import { openRedis } from '#platform/redis'
import { developmentEnvironment } from './services/index.ts'

const partitions = 12

/**
 * Brings the databases of the modules in `MODULES`, all topics, rights at the broker and, with users, the operator to this release; safe to run twice
 * and from two processes at once.
 */
export const migrate = async (config: MigrateConfig, report: (line: string) => void): Promise<void> => {
  for (const module of config.MODULES) {
    const upper = module.toUpperCase() as 'USERS' | 'ORDERS' | 'PAYMENTS'
    const ownerUrl = config[`${upper}_OWNER_URL`] ?? config.DATABASE_URL ?? ''
    const moduleUrl = config[`${upper}_DATABASE_URL`] ?? ''
    await migrateModule({ module, ownerUrl, moduleUrl, report, ca: config.TLS_CA_FILE })
  }
  const broker = openMessaging(config)
  await broker.signIn()
  await createTopics(config, broker)
  await grantRights(config, broker, report)
  if (config.MODULES.includes('users')) await createOperator(config)
}

const log = createLog({ level: 'error', readable: true })

const openMessaging = (config: MigrateConfig) =>
  openBroker({ ...brokerSettings(config), clientId: 'bulkhead-migrate', log })

const modules: (Traffic & { name: ModuleName })[] = [users, ordersTraffic, paymentsTraffic]

const createTopics = async (config: MigrateConfig, broker: Broker): Promise<void> => {
  const topics = modules.flatMap((module) => module.topics)
  const settings = { partitions, replication: config.KAFKA_REPLICATION, retentionMs: config.KAFKA_RETENTION_MS }
  try {
    await broker.createTopics(topics.map(({ name }) => ({ name, ...settings })))
    const found = await broker.partitions(topics.map(({ name }) => name))
    const wrong = [...found].filter(([, count]) => count !== partitions)
    if (wrong.length > 0)
      throw new StartError(
        `${wrong.map(([name, count]) => `${name} has ${count}`).join(', ')} partitions: a topic needs ${partitions}, since adding them later moves keys.`,
      )
  } catch (error) {
    if (error instanceof StartError) throw error
    throw new StartError(`The topics could not be created at ${config.KAFKA_BROKERS.join(',')}: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/** Each module that has a name of its own at the broker may do there what it says that it does, and nothing else. */
const grantRights = async (config: MigrateConfig, broker: Broker, report: (line: string) => void): Promise<void> => {
  const rights = modules.flatMap((module) => {
    const principal = principalOf(config, module.name)
    return principal === undefined ? [] : rightsOf(module, principal)
  })
  if (rights.length === 0) return
  const names = rights.map(({ principal }) => principal).join(', ')
  try {
    const granted = await broker.grant(rights)
    report(
      `rights: ${granted ? names : `none for ${names}, since the broker has no authorizer: it lets everybody do everything`}`,
    )
  } catch (error) {
    const what = `The rights of ${names} could not be granted at ${config.KAFKA_BROKERS.join(',')}`
    throw new StartError(`${what}: ${messageOf(error)}`, { cause: error })
  }
}

const createOperator = async (config: MigrateConfig): Promise<void> => {
  const {
    REDIS_URL = '',
    USERS_DATABASE_URL = '',
    OPERATOR_EMAIL = '',
    OPERATOR_PASSWORD = '',
    TLS_CA_FILE: ca,
  } = config
  const redis = openRedis({ url: REDIS_URL, name: 'bulkhead-migrate', log, ca })
  const postgres = openPostgres({ url: USERS_DATABASE_URL, name: 'bulkhead-migrate', poolSize: 2, ca })
  try {
    await redis.connected(5_000)
    const { evictionPolicy } = await redis.inspect()
    if (evictionPolicy !== 'noeviction') {
      throw new StartError(
        `Redis at ${new URL(REDIS_URL).host} evicts keys (${evictionPolicy}): set maxmemory-policy noeviction.`,
      )
    }
    const hosted = hostModule({
      definition: users,
      postgres,
      broker: openMessaging(config),
      redis,
      log,
      owner: Bun.randomUUIDv7(),
    })
    const id = Bun.randomUUIDv7()
    const context = {
      ...hosted.context({ correlationId: id, causationId: id }),
      passwords: createPasswords(),
      signInFailures: createFailureLimit({ redis, prefix: 'users:sign-in-failures', max: 5, windowMs: 1_000 }),
    }
    await ensureOperator(context, { email: OPERATOR_EMAIL, password: OPERATOR_PASSWORD })
  } finally {
    await postgres.close()
    redis.close()
  }
}

if (import.meta.main) {
  try {
    await migrate(parseMigrateConfig(await developmentEnvironment()), (line) => console.log(`migrated ${line}`))
    console.log('Schemas, roles, topics and the operator are those of this release.')
    process.exit(0)
  } catch (error) {
    console.error(error instanceof StartError || error instanceof UnavailableError ? error.message : error)
    process.exit(1)
  }
}
