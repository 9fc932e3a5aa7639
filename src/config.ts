import { z } from 'zod'
import { StartError } from '#platform/errors'

const url = (...protocols: string[]) =>
  z.string().refine(
    (value) => {
      const parsed = URL.parse(value)
      return parsed !== null && protocols.includes(parsed.protocol) && parsed.hostname !== ''
    },
    { error: `must be a URL like ${protocols.map((protocol) => `${protocol}//host`).join(' or ')}`, abort: true },
  )

const postgresUrl = url('postgres:', 'postgresql:')

/** A module signs in as the role of its own name. */
const moduleUrl = (role: string) =>
  postgresUrl.refine(
    (value) => decodeURIComponent(new URL(value).username) === role,
    `must sign in as the role ${role}`,
  )

const flag = z.enum(['true', 'false', '1', '0']).transform((value) => value === 'true' || value === '1')

const list = z
  .string()
  .transform((value) => value.split(',').map((item) => item.trim()))
  .refine((items) => items.every((item) => item.length > 0), 'must be a comma list without empty parts')

const jwtKeys = list.transform((items, context) => {
  const keys = items.map((item) => {
    const [kid, secret] = [item.slice(0, item.indexOf(':')), item.slice(item.indexOf(':') + 1)]
    if (!item.includes(':') || !kid) context.addIssue('must be kid:secret,kid:secret')
    else if (Buffer.byteLength(secret) < 32) context.addIssue(`the secret of ${kid} must have at least 32 bytes`)
    return { kid, secret }
  })
  if (new Set(keys.map(({ kid }) => kid)).size < keys.length) context.addIssue('must not have one kid twice')
  return keys
})

const broker = {
  KAFKA_BROKERS: list,
  KAFKA_SSL: flag.default(false),
  KAFKA_SASL_MECHANISM: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']).optional(),
  KAFKA_SASL_USERNAME: z.string().optional(),
  KAFKA_SASL_PASSWORD: z.string().optional(),
}

/** Who signs in to the broker has a name and a password. */
const signsInWhole = (settings: { [Name in keyof typeof broker]?: unknown }, context: z.RefinementCtx) => {
  for (const name of ['KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD'] as const) {
    if (settings.KAFKA_SASL_MECHANISM && !settings[name])
      context.addIssue({ code: 'custom', path: [name], message: 'is needed with KAFKA_SASL_MECHANISM' })
  }
}

const dayMs = 24 * 3_600_000

const milliseconds = (usual: number) => z.coerce.number().int().min(1_000).default(usual)

const serving = z
  .object({
    ...broker,
    PORT: z.coerce.number().int().min(0).max(65_535).default(3000),
    HOST: z.string().min(1).default('0.0.0.0'),
    USERS_DATABASE_URL: moduleUrl('users'),
    ORDERS_DATABASE_URL: moduleUrl('orders'),
    PAYMENTS_DATABASE_URL: moduleUrl('payments'),
    DATABASE_POOL_SIZE: z.coerce.number().int().min(2).max(200).default(16),
    KAFKA_SESSION_TIMEOUT_MS: z.coerce.number().int().min(500).default(6_000),
    RELAY_LEASE_MS: z.coerce.number().int().min(500).default(5_000),
    REDIS_URL: url('redis:', 'rediss:'),
    PAYMENT_PROVIDER_URL: url('http:', 'https:'),
    INBOX_RETENTION_MS: milliseconds(8 * dayMs),
    ANSWER_RETENTION_MS: milliseconds(2 * dayMs),
    ENDED_RETENTION_MS: milliseconds(30 * dayMs),
    MAX_REQUESTS_IN_FLIGHT: z.coerce.number().int().min(1).default(1_000),
    OUTBOX_MAX_AGE_MS: milliseconds(30 * 60_000),
    FLOW_DEADLINE_MS: z.coerce.number().int().min(1_000).default(60_000),
    JWT_KEYS: jwtKeys,
    TOKEN_TTL_SECONDS: z.coerce.number().int().min(60).default(86_400),
    LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
    NODE_ENV: z.string().default('production'),
  })
  .superRefine(signsInWhole)

const migrating = z
  .object({
    ...broker,
    DATABASE_URL: postgresUrl.optional(),
    USERS_OWNER_URL: postgresUrl.optional(),
    ORDERS_OWNER_URL: postgresUrl.optional(),
    PAYMENTS_OWNER_URL: postgresUrl.optional(),
    USERS_DATABASE_URL: moduleUrl('users'),
    ORDERS_DATABASE_URL: moduleUrl('orders'),
    PAYMENTS_DATABASE_URL: moduleUrl('payments'),
    KAFKA_REPLICATION: z.coerce.number().int().min(1).default(3),
    KAFKA_RETENTION_MS: z.coerce
      .number()
      .int()
      .min(1_000)
      .default(7 * 24 * 3_600_000),
    REDIS_URL: url('redis:', 'rediss:'),
    OPERATOR_EMAIL: z.email(),
    OPERATOR_PASSWORD: z.string().min(8),
  })
  .superRefine((settings, context) => {
    signsInWhole(settings, context)
    for (const module of ['USERS', 'ORDERS', 'PAYMENTS'] as const) {
      if (!settings.DATABASE_URL && !settings[`${module}_OWNER_URL`]) {
        context.addIssue({ code: 'custom', path: ['DATABASE_URL'], message: `is needed, or ${module}_OWNER_URL` })
      }
    }
  })

export type Environment = Record<string, string | undefined>

export type Config = z.infer<typeof serving>

export type MigrateConfig = z.infer<typeof migrating>

const parse = <Schema extends z.ZodType>(schema: Schema, environment: Environment): z.infer<Schema> => {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  )
  const parsed = schema.safeParse(given)
  if (parsed.success) return parsed.data
  const lines = parsed.error.issues.map(({ path, code, message }) => {
    const name = String(path[0])
    if (given[name] === undefined) return code === 'custom' ? `${name} ${message}` : `${name} is not set`
    return `${name} is wrong: ${message}`
  })
  throw new StartError(`The environment does not fit: ${[...new Set(lines)].join('; ')}.`)
}

/** The settings of the serving process. @throws StartError naming each variable that is missing or wrong. */
export const parseConfig = (environment: Environment): Config => parse(serving, environment)

/** The settings of `migrate`. @throws StartError naming each variable that is missing or wrong. */
export const parseMigrateConfig = (environment: Environment): MigrateConfig => parse(migrating, environment)

/** How to reach the broker, out of either set of settings. */
export const brokerSettings = (config: Pick<Config, keyof typeof broker>) => ({
  brokers: config.KAFKA_BROKERS,
  ssl: config.KAFKA_SSL,
  ...(config.KAFKA_SASL_MECHANISM
    ? {
        sasl: {
          mechanism: config.KAFKA_SASL_MECHANISM,
          username: config.KAFKA_SASL_USERNAME ?? '',
          password: config.KAFKA_SASL_PASSWORD ?? '',
        },
      }
    : {}),
})
