/** What is installed, compose.yaml included: `compose-check.ts` refuses a compose file that says otherwise. */
export const postgresSettings = {
  version: '18.4',
  user: 'bulkhead',
  database: 'bulkhead',
  composePort: 15432,
  maxConnections: 100,
} as const

export const brokerSettings = {
  kafkaVersion: '4.4.0',
  minimumJava: 17,
  composePort: 19092,
  consolePort: 18080,
  replication: '1',
  /** Tests take sessions shorter than the 6 s that brokers allow by default. */
  minimumSessionTimeoutMs: 1000,
} as const

export const redisSettings = {
  /** The oldest that is accepted from the PATH, and the one that Maven brings. */
  version: '6.2',
  mavenArtifact: 'com.github.codemonstur:embedded-redis:1.4.3',
  composePort: 16379,
  evictionPolicy: 'noeviction',
} as const

/** Named in full, so that Maven does not fetch the plugins of a build to look a short name up. */
export const mavenPlugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1'

/** Used by `docker compose` when it is called by hand; `services up` passes a password of its own. */
export const composePassword = 'bulkhead'

export const composeVariables = {
  postgresPort: 'BULKHEAD_POSTGRES_PORT',
  postgresPassword: 'BULKHEAD_POSTGRES_PASSWORD',
  brokerPort: 'BULKHEAD_BROKER_PORT',
  consolePort: 'BULKHEAD_CONSOLE_PORT',
  redisPort: 'BULKHEAD_REDIS_PORT',
} as const

export const operatorEmail = 'operator@bulkhead.local'

export const moduleRoles = ['users', 'orders', 'payments'] as const
