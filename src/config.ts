import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { isAddressRange } from '#platform/addresses'
import { isCommonPassword } from '#platform/common-passwords'
import { StartError, messageOf } from '#platform/errors'
import { weaknessOf } from '#platform/secrets'
import { countCertificates, sslModeOf } from '#platform/tls'

export type Environment = Record<string, string | undefined>

/** The modules there are. */
export const moduleNames = ['users', 'orders', 'payments'] as const

export type ModuleName = (typeof moduleNames)[number]

const url = (...protocols: string[]) =>
  z.string().refine(
    (value) => {
      const parsed = URL.parse(value)
      return parsed !== null && protocols.includes(parsed.protocol) && parsed.hostname !== ''
    },
    { error: `must be a URL like ${protocols.map((protocol) => `${protocol}//host`).join(' or ')}`, abort: true },
  )

const postgresUrl = url('postgres:', 'postgresql:').superRefine((value, context) => {
  try {
    sslModeOf(value)
  } catch (error) {
    context.addIssue(messageOf(error))
  }
})

/** Becomes the certificates that the file holds. */
const caFile = z.string().transform((path, context) => {
  try {
    const pem = readFileSync(path, 'utf8')
    if (countCertificates(pem) === 0) context.addIssue('must name a file with certificates in PEM format')
    return pem
  } catch (error) {
    context.addIssue(`cannot be read: ${messageOf(error)}`)
    return z.NEVER
  }
})

/** A module signs in as the role of its own name. */
const moduleUrl = (role: string) =>
  postgresUrl.refine(
    (value) => decodeURIComponent(new URL(value).username) === role,
    `must sign in as the role ${role}`,
  )

const flag = z.enum(['true', 'false', '1', '0']).transform((value) => value === 'true' || value === '1')

const parts = z.string().transform((value) => value.split(',').map((item) => item.trim()))

const list = parts.refine((items) => items.every((item) => item.length > 0), 'must be a comma list without empty parts')

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

const isModule = (name: string): name is ModuleName => moduleNames.some((known) => known === name)

const modules = parts
  .refine((names) => names.every(isModule), `must be a comma list out of ${moduleNames.join(', ')}`)
  .refine((names) => new Set(names).size === names.length, 'must not name a module twice')
  .transform((names) => names.filter(isModule))
  .default([...moduleNames])

/** Who a module is to the broker, when it is not what the others are. */
const principals = {
  USERS_KAFKA_SASL_USERNAME: z.string().optional(),
  USERS_KAFKA_SASL_PASSWORD: z.string().optional(),
  ORDERS_KAFKA_SASL_USERNAME: z.string().optional(),
  ORDERS_KAFKA_SASL_PASSWORD: z.string().optional(),
  PAYMENTS_KAFKA_SASL_USERNAME: z.string().optional(),
  PAYMENTS_KAFKA_SASL_PASSWORD: z.string().optional(),
}

const broker = {
  TLS_CA_FILE: caFile.optional(),
  ...principals,
  KAFKA_BROKERS: list,
  KAFKA_SSL: flag.default(false),
  KAFKA_SASL_MECHANISM: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']).optional(),
  KAFKA_SASL_USERNAME: z.string().optional(),
  KAFKA_SASL_PASSWORD: z.string().optional(),
}

type Issues = Pick<z.RefinementCtx, 'addIssue'>

const needed = ({ addIssue }: Issues, name: keyof typeof broker, what: string) =>
  addIssue({ code: 'custom', path: [name], message: `is needed with ${what}` })

const shared = ['KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD'] as const

const ownOf = <Name extends ModuleName>(module: Name) => {
  const upper = module.toUpperCase() as Uppercase<Name>
  return [`${upper}_KAFKA_SASL_USERNAME`, `${upper}_KAFKA_SASL_PASSWORD`] as const
}

type Signing = { [Name in keyof typeof broker]?: unknown }

/** Whoever signs in to the broker has a mechanism, a name and a password. */
const signsIn = (settings: Signing, issues: Issues) => {
  if (settings.KAFKA_SASL_MECHANISM) {
    for (const name of shared) if (!settings[name]) needed(issues, name, 'KAFKA_SASL_MECHANISM')
    return
  }
  const nobody = [...shared, ...moduleNames.flatMap(ownOf)].find((name) => settings[name])
  if (nobody) needed(issues, 'KAFKA_SASL_MECHANISM', nobody)
}

/** A module signs in as itself or, with the others that do not, as who they all are. */
const modulesSignIn = (settings: Signing & { MODULES: ModuleName[] }, issues: Issues) => {
  for (const [name, password] of settings.MODULES.map(ownOf)) {
    if (settings[name] && !settings[password]) needed(issues, password, name)
    if (settings[password] && !settings[name]) needed(issues, name, password)
  }
  const all = settings.MODULES.every((module) => settings[ownOf(module)[0]])
  if (!all || !settings.KAFKA_SASL_MECHANISM) signsIn(settings, issues)
}

const isOrigin = (text: string) => URL.parse(text)?.origin === text

const origins = list.refine(
  (items) => items.every(isOrigin),
  'must be a comma list of origins like https://shop.example',
)

const addresses = list.refine(
  (items) => items.every(isAddressRange),
  'must be a comma list of addresses or ranges like 10.0.0.0/8',
)

/** What clients may ask for in a minute; 0 is no limit. */
const perMinute = z.coerce.number().int().min(0).optional()

type Guarded = { NODE_ENV: string; JWT_KEYS?: { kid: string; secret: string }[]; OPERATOR_PASSWORD?: string }

/** Outside development and tests, what can be guessed is refused. */
const holdsNothingWeak = (settings: Guarded, context: z.RefinementCtx) => {
  if (settings.NODE_ENV === 'development' || settings.NODE_ENV === 'test') return
  const refuse = (name: string, message: string) => context.addIssue({ code: 'custom', path: [name], message })
  for (const { kid, secret } of settings.JWT_KEYS ?? []) {
    const weakness = weaknessOf(secret)
    if (weakness) refuse('JWT_KEYS', `the secret of ${kid} ${weakness}: draw one, as by openssl rand -base64 48`)
  }
  if (settings.OPERATOR_PASSWORD !== undefined && isCommonPassword(settings.OPERATOR_PASSWORD))
    refuse('OPERATOR_PASSWORD', 'is one of those that are guessed first: choose another')
}

const dayMs = 24 * 3_600_000

const milliseconds = (usual: number) => z.coerce.number().int().min(1_000).default(usual)

const serving = z.object({
  ...broker,
  MODULES: modules,
  USERS_URL: url('http:', 'https:').optional(),
  ORDERS_URL: url('http:', 'https:').optional(),
  PAYMENTS_URL: url('http:', 'https:').optional(),
  FORWARD_TIMEOUT_MS: milliseconds(15_000),
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
  REQUEST_TIMEOUT_MS: z.coerce.number().int().min(1_000).max(200_000).default(20_000),
  MAX_STREAMS: z.coerce.number().int().min(0).default(1_000),
  MAX_STREAMS_PER_USER: z.coerce.number().int().min(0).default(20),
  STORED_DOCUMENTS_ONLY: flag.default(false),
  OUTBOX_MAX_AGE_MS: milliseconds(30 * 60_000),
  FLOW_DEADLINE_MS: z.coerce.number().int().min(1_000).default(60_000),
  JWT_KEYS: jwtKeys,
  TOKEN_TTL_SECONDS: z.coerce.number().int().min(60).default(86_400),
  SIGN_IN_FAILURES: z.coerce.number().int().min(1).default(5),
  SIGN_INS_PER_ADDRESS: perMinute,
  REGISTRATIONS_PER_ADDRESS: perMinute,
  TRUSTED_PROXIES: addresses.default([]),
  CORS_ORIGINS: origins.default([]),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  OTEL_EXPORTER_OTLP_ENDPOINT: url('http:', 'https:').optional(),
  NODE_ENV: z.string().default('production'),
})

const migrating = z.object({
  ...broker,
  MODULES: modules,
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
  NODE_ENV: z.string().default('production'),
})

/** Each module that is migrated has an owner. */
const ownersOf = (settings: z.infer<typeof migrating>, context: z.RefinementCtx) => {
  for (const module of settings.MODULES) {
    const own = `${module.toUpperCase() as Uppercase<ModuleName>}_OWNER_URL` as const
    if (!settings.DATABASE_URL && !settings[own])
      context.addIssue({ code: 'custom', path: ['DATABASE_URL'], message: `is needed, or ${own}` })
  }
}

/** What only who hosts the module needs: no other process holds it, even where it is set. */
const ofHosts = {
  users: ['USERS_DATABASE_URL', ...ownOf('users')],
  orders: ['ORDERS_DATABASE_URL', ...ownOf('orders')],
  payments: ['PAYMENTS_DATABASE_URL', 'PAYMENT_PROVIDER_URL', ...ownOf('payments')],
} as const

/** The operator, whom `migrate` creates, is a user. */
const ofMigratedHosts = {
  users: ['USERS_DATABASE_URL', 'REDIS_URL', 'OPERATOR_EMAIL', 'OPERATOR_PASSWORD'],
  orders: ['ORDERS_DATABASE_URL'],
  payments: ['PAYMENTS_DATABASE_URL'],
} as const

type Settings<Whole, Hosts extends Record<ModuleName, readonly (keyof Whole)[]>> = Omit<
  Whole,
  Hosts[ModuleName][number]
> & { [Name in Hosts[ModuleName][number]]?: Whole[Name] | undefined }

export type Config = Settings<z.infer<typeof serving>, typeof ofHosts>

export type MigrateConfig = Settings<z.infer<typeof migrating>, typeof ofMigratedHosts>

/** The settings without those of modules that `MODULES` leaves out. */
const forHosts = <Shape extends z.core.$ZodLooseShape>(
  whole: z.ZodObject<Shape>,
  hosts: Record<ModuleName, readonly string[]>,
  environment: Environment,
): z.ZodObject<Shape> => {
  const hosted: ModuleName[] = modules.safeParse(environment['MODULES']).data ?? [...moduleNames]
  const unneeded = moduleNames.filter((name) => !hosted.includes(name)).flatMap((name) => hosts[name])
  const kept = Object.entries(whole.shape).filter(([name]) => !unneeded.includes(name))
  return z.object(Object.fromEntries(kept)) as unknown as z.ZodObject<Shape>
}

const parse = <Schema extends z.ZodType>(schema: Schema, environment: Environment): z.infer<Schema> => {
  const given = Object.fromEntries(
    // A process that is to host nothing is a mistake, while any other empty variable is one that is not set.
    Object.entries(environment).filter(([name, value]) => value !== undefined && (value !== '' || name === 'MODULES')),
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
export const parseConfig = (environment: Environment): Config =>
  parse(forHosts(serving, ofHosts, environment).superRefine(modulesSignIn).superRefine(holdsNothingWeak), environment)

/** The settings of `migrate`. @throws StartError naming each variable that is missing or wrong. */
export const parseMigrateConfig = (environment: Environment): MigrateConfig =>
  parse(
    forHosts(migrating, ofMigratedHosts, environment)
      .superRefine(signsIn)
      .superRefine(holdsNothingWeak)
      .superRefine(ownersOf),
    environment,
  )

type BrokerConfig = Pick<Config, keyof typeof broker>

/** Who a module is to the broker; undefined when it is who the others are. */
export const principalOf = (config: BrokerConfig, module: ModuleName): string | undefined => config[ownOf(module)[0]]

/** How to reach the broker, out of either set of settings; as the module, or as who all are that have no name of their own. */
export const brokerSettings = (config: BrokerConfig, module?: ModuleName) => {
  const [name, password] = module && principalOf(config, module) ? ownOf(module) : shared
  const mechanism = config.KAFKA_SASL_MECHANISM
  return {
    brokers: config.KAFKA_BROKERS,
    ssl: config.KAFKA_SSL,
    ca: config.TLS_CA_FILE,
    ...(mechanism ? { sasl: { mechanism, username: config[name] ?? '', password: config[password] ?? '' } } : {}),
  }
}
