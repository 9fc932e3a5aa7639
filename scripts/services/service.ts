import type { Account } from './process.ts'

export const environmentVariables = [
  'DATABASE_URL',
  'USERS_DATABASE_URL',
  'ORDERS_DATABASE_URL',
  'PAYMENTS_DATABASE_URL',
  'KAFKA_BROKERS',
  'KAFKA_REPLICATION',
  'REDIS_URL',
  'PAYMENT_PROVIDER_URL',
  'JWT_KEYS',
  'OPERATOR_EMAIL',
  'OPERATOR_PASSWORD',
] as const

/** The environment variables that reach the services; each is a setting of the process or of migrate. */
export type ServiceEnvironment = Record<(typeof environmentVariables)[number], string>

export type Environment = Record<string, string | undefined>

export type Secrets = { postgres: string; jwt: string; operator: string }

export type Ports = Record<string, number>

export type Progress = (line: string) => void

/** One start of one service: where it lives, what it listens on, and how it says what it is doing. */
export type Job = {
  profile: string
  ports: Ports
  secrets: Secrets
  progress: Progress
  signal: AbortSignal
}

/** A server process that is ready to be spawned. */
export type Server = {
  command: string
  args: string[]
  cwd: string
  env?: Record<string, string>
  account?: Account
}

/** Everything that differs from one service to the next. A new service is one more of these in `list.ts`. */
export type Service = {
  name: string
  title: string
  /** When this variable is set, the service is somebody else's: it is passed through and never started. */
  variable: string
  /** Names of the ports it listens on; clients reach it by the first. */
  ports: readonly [string, ...string[]]
  stopSignal: NodeJS.Signals
  /** Its name in compose.yaml; a service without one always runs natively. */
  composeService?: string
  /** Fetches what is missing, lays out its data, and says how to run it. Safe to repeat. */
  prepare: (job: Job) => Promise<Server>
  isReady: (port: number) => Promise<boolean>
  address: (port: number, secrets: Secrets) => string
  /** What clients set, from the address, whoever started the service. */
  variables: (address: string) => Partial<ServiceEnvironment>
}
