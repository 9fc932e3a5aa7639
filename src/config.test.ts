import { describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { StartError } from '#platform/errors'
import { type Environment, brokerSettings, moduleNames, parseConfig, parseMigrateConfig } from './config.ts'
import { createAuthority } from './test/certificates.ts'

const secret = 'a secret of at least 32 bytes in all'

const serving = {
  USERS_DATABASE_URL: 'postgres://users:a@db:5432/bulkhead',
  ORDERS_DATABASE_URL: 'postgres://orders:b@db:5432/bulkhead',
  PAYMENTS_DATABASE_URL: 'postgresql://payments:c@db:5432/bulkhead',
  KAFKA_BROKERS: 'one:9092, two:9092',
  REDIS_URL: 'redis://redis:6379',
  PAYMENT_PROVIDER_URL: 'http://provider:8080',
  JWT_KEYS: `new:${secret},old:${secret}`,
}

const { JWT_KEYS: _, PAYMENT_PROVIDER_URL: __, ...reached } = serving
const migrating = {
  ...reached,
  DATABASE_URL: 'postgres://owner:d@db:5432/bulkhead',
  OPERATOR_EMAIL: 'operator@example.com',
  OPERATOR_PASSWORD: 'correct horse',
}

/** The one line that a start is refused with. */
const refusal = (parse: (environment: Environment) => unknown, environment: Environment): string => {
  try {
    parse(environment)
  } catch (error) {
    if (!(error instanceof StartError)) throw error
    expect(error.message).not.toContain('\n')
    return error.message
  }
  throw new Error('It was not refused.')
}

describe('given what is needed and nothing else', () => {
  test('the process serves on every address, and the rest has its defaults', () => {
    expect(parseConfig(serving)).toMatchObject({
      PORT: 3000,
      HOST: '0.0.0.0',
      LOG_LEVEL: 'info',
      KAFKA_SSL: false,
      KAFKA_BROKERS: ['one:9092', 'two:9092'],
      INBOX_RETENTION_MS: 8 * 86_400_000,
      ANSWER_RETENTION_MS: 2 * 86_400_000,
      ENDED_RETENTION_MS: 30 * 86_400_000,
      MAX_REQUESTS_IN_FLIGHT: 1_000,
      MAX_STREAMS: 1_000,
      MAX_STREAMS_PER_USER: 20,
      STORED_DOCUMENTS_ONLY: false,
      OUTBOX_MAX_AGE_MS: 1_800_000,
      JWT_KEYS: [
        { kid: 'new', secret },
        { kid: 'old', secret },
      ],
    })
  })

  test('topics are replicated three times and kept for seven days', () => {
    expect(parseMigrateConfig(migrating)).toMatchObject({ KAFKA_REPLICATION: 3, KAFKA_RETENTION_MS: 604_800_000 })
  })

  test('an empty variable is one that is not set, and an unknown one is nobody else’s business', () => {
    expect(parseConfig({ ...serving, PORT: '', HOME: '/root' })).toEqual(parseConfig(serving))
  })
})

describe('a missing variable is named in one line', () => {
  for (const name of Object.keys(serving)) {
    test(`${name}, by the process`, () => {
      for (const value of [undefined, ''])
        expect(refusal(parseConfig, { ...serving, [name]: value })).toBe(
          `The environment does not fit: ${name} is not set.`,
        )
    })
  }

  for (const name of Object.keys(migrating).filter((name) => name !== 'DATABASE_URL')) {
    test(`${name}, by migrate`, () => {
      expect(refusal(parseMigrateConfig, { ...migrating, [name]: undefined })).toContain(`${name} is not set`)
    })
  }

  test('all of them at once', () => {
    for (const name of Object.keys(serving)) expect(refusal(parseConfig, {})).toContain(`${name} is not set`)
  })

  test('the owner of each module that has none', () => {
    const { DATABASE_URL, ...rest } = migrating
    const line = refusal(parseMigrateConfig, { ...rest, USERS_OWNER_URL: DATABASE_URL })
    expect(line).toContain('DATABASE_URL is needed, or ORDERS_OWNER_URL')
    expect(line).toContain('DATABASE_URL is needed, or PAYMENTS_OWNER_URL')
    expect(line).not.toContain('USERS_OWNER_URL')
    const owners = { USERS_OWNER_URL: DATABASE_URL, ORDERS_OWNER_URL: DATABASE_URL, PAYMENTS_OWNER_URL: DATABASE_URL }
    expect(parseMigrateConfig({ ...rest, ...owners })).toMatchObject(owners)
  })
})

describe('a wrong variable is named in one line, without what it holds', () => {
  const wrong: Record<string, string[]> = {
    PORT: ['http', '-1', '65536', '3000.5'],
    USERS_DATABASE_URL: [
      'db:5432',
      'mysql://users:hush@db/x',
      'postgres://orders:hush@db/x',
      'postgres://db/x',
      'postgres://users:hush@db/x?sslmode=prefer',
      'postgres://users:hush@db/x?sslmode=verify-full&sslrootcert=ca.pem',
    ],
    ORDERS_DATABASE_URL: ['postgres://users:hush@db/x'],
    PAYMENTS_DATABASE_URL: ['postgres://owner:hush@db/x'],
    KAFKA_BROKERS: [',', 'one:9092,', ' '],
    KAFKA_SSL: ['yes', 'TRUE'],
    TLS_CA_FILE: ['/nowhere/ca.pem', import.meta.dir, import.meta.path],
    KAFKA_SASL_MECHANISM: ['oauth'],
    REDIS_URL: ['redis:6379', 'http://redis:6379'],
    JWT_KEYS: [
      'hush',
      ':hush',
      secret,
      'new:hush',
      `new:${secret},old:hush`,
      `new:${secret},`,
      `a:${secret},a:${secret}`,
    ],
    TOKEN_TTL_SECONDS: ['59', 'never'],
    CORS_ORIGINS: ['*', 'shop.example', 'https://shop.example/', 'null', ','],
    TRUSTED_PROXIES: ['proxy', '10.0.0.0/33', '*', ','],
    SIGN_IN_FAILURES: ['0', 'many'],
    SIGN_INS_PER_ADDRESS: ['-1', 'many'],
    REGISTRATIONS_PER_ADDRESS: ['-1', '1.5'],
    REQUEST_TIMEOUT_MS: ['0', '200001'],
    PAYMENT_PROVIDER_URL: ['provider:8080', 'ftp://provider'],
    ORDERS_URL: ['orders:3000', 'redis://orders', 'http://'],
    FORWARD_TIMEOUT_MS: ['10', 'a minute'],
    FLOW_DEADLINE_MS: ['10', 'a minute'],
    INBOX_RETENTION_MS: ['0', '999', 'a week'],
    ANSWER_RETENTION_MS: ['0', '1.5e-3', 'a day'],
    ENDED_RETENTION_MS: ['-1', 'a month'],
    MAX_REQUESTS_IN_FLIGHT: ['0', '1.5', 'many'],
    OUTBOX_MAX_AGE_MS: ['999', 'half an hour'],
    DATABASE_POOL_SIZE: ['1', '1000'],
    LOG_LEVEL: ['loud'],
  }
  for (const [name, values] of Object.entries(wrong)) {
    for (const [index, value] of values.entries()) {
      test(`${name}, ${index + 1}`, () => {
        const line = refusal(parseConfig, { ...serving, [name]: value })
        expect(line).toStartWith(`The environment does not fit: ${name} is wrong: `)
        expect(line).not.toContain('hush')
        expect(line).not.toContain(secret)
      })
    }
  }

  const wrongToMigrate = {
    OPERATOR_EMAIL: 'operator',
    OPERATOR_PASSWORD: '1234567',
    DATABASE_URL: 'db',
    KAFKA_REPLICATION: '0',
    KAFKA_RETENTION_MS: 'a week',
  }
  for (const [name, value] of Object.entries(wrongToMigrate)) {
    test(`${name}, by migrate`, () => {
      expect(refusal(parseMigrateConfig, { ...migrating, [name]: value })).toContain(`${name} is wrong: `)
    })
  }
})

describe('the modules that a process hosts', () => {
  const ofHost = {
    users: ['USERS_DATABASE_URL'],
    orders: ['ORDERS_DATABASE_URL'],
    payments: ['PAYMENTS_DATABASE_URL', 'PAYMENT_PROVIDER_URL'],
  }

  test('are all of them unless it is said otherwise', () => {
    expect(parseConfig(serving).MODULES).toEqual(['users', 'orders', 'payments'])
    expect(parseConfig({ ...serving, MODULES: 'payments, users' }).MODULES).toEqual(['payments', 'users'])
  })

  for (const [module, own] of Object.entries(ofHost)) {
    test(`${module} alone needs its own settings and is given no others`, () => {
      const alone = parseConfig({ ...serving, MODULES: module })
      for (const [other, settings] of Object.entries(ofHost)) {
        for (const name of settings) expect([name, name in alone]).toEqual([name, other === module])
      }
      for (const name of own)
        expect(refusal(parseConfig, { ...serving, MODULES: module, [name]: undefined })).toBe(
          `The environment does not fit: ${name} is not set.`,
        )
      const foreign = Object.values(ofHost)
        .flat()
        .filter((name) => !own.includes(name))
      const without = Object.fromEntries(foreign.map((name) => [name, undefined]))
      expect(parseConfig({ ...serving, MODULES: module, ...without })).toEqual(alone)
    })
  }

  test('do not change what every process needs', () => {
    for (const name of ['KAFKA_BROKERS', 'REDIS_URL', 'JWT_KEYS'])
      expect(refusal(parseConfig, { ...serving, MODULES: 'orders', [name]: undefined })).toContain(`${name} is not set`)
  })

  test('are refused in one line where they are unknown, none, or named twice', () => {
    const wrong = {
      carts: 'a comma list',
      'users,carts': 'a comma list',
      'users,': 'a comma list',
      ',': 'a comma list',
    }
    for (const [MODULES, words] of Object.entries({ ...wrong, '': 'a comma list', 'users, users': 'twice' })) {
      const line = refusal(parseConfig, { ...serving, MODULES })
      expect(line).toStartWith('The environment does not fit: MODULES is wrong: must')
      expect(line).toContain(words)
      expect(refusal(parseMigrateConfig, { ...migrating, MODULES })).toContain('MODULES is wrong')
    }
  })

  test('need nothing of the operator, of Redis and of the others to be migrated without users', () => {
    const { KAFKA_BROKERS, PAYMENTS_DATABASE_URL, DATABASE_URL: PAYMENTS_OWNER_URL } = migrating
    const own = { KAFKA_BROKERS, PAYMENTS_DATABASE_URL, PAYMENTS_OWNER_URL, MODULES: 'payments' }
    expect(parseMigrateConfig(own)).toMatchObject({ PAYMENTS_DATABASE_URL, PAYMENTS_OWNER_URL, MODULES: ['payments'] })
    const line = refusal(parseMigrateConfig, { ...own, PAYMENTS_OWNER_URL: undefined })
    expect(line).toBe('The environment does not fit: DATABASE_URL is needed, or PAYMENTS_OWNER_URL.')
    for (const name of ['OPERATOR_EMAIL', 'OPERATOR_PASSWORD', 'REDIS_URL'])
      expect(refusal(parseMigrateConfig, { ...own, MODULES: 'payments,users' })).toContain(`${name} is not set`)
  })
})

describe('what can be guessed', () => {
  const weak: [name: string, parse: (environment: Environment) => unknown, environment: Environment, says: string][] = [
    [
      'JWT_KEYS of one letter',
      parseConfig,
      { ...serving, JWT_KEYS: `k:${'x'.repeat(40)}` },
      'the secret of k has fewer',
    ],
    [
      'JWT_KEYS out of a README, behind a good one',
      parseConfig,
      { ...serving, JWT_KEYS: `k:${secret},old:please-change-me-before-going-live-1` },
      'the secret of old is an example',
    ],
    ['a word again and again', parseConfig, { ...serving, JWT_KEYS: `k:${'Secret-42'.repeat(5)}` }, 'repeats'],
    ['an OPERATOR_PASSWORD', parseMigrateConfig, { ...migrating, OPERATOR_PASSWORD: 'Password123' }, 'guessed first'],
  ]
  for (const [name, parse, environment, says] of weak) {
    test(`is refused in production, and not in development or tests: ${name}`, () => {
      expect(refusal(parse, environment)).toContain(says)
      expect(refusal(parse, { ...environment, NODE_ENV: 'production' })).toContain(says)
      expect(refusal(parse, { ...environment, NODE_ENV: 'staging' })).toContain(says)
      for (const NODE_ENV of ['development', 'test']) expect(() => parse({ ...environment, NODE_ENV })).not.toThrow()
    })
  }

  test('is not told', () => {
    for (const [, parse, environment] of weak)
      expect(refusal(parse, environment)).not.toMatch(/xxxx|please-change|Secret-42|Password123/)
  })
})

describe('who may come, and from where', () => {
  test('is nobody’s page, no proxy and the usual limits, unless it is set', () => {
    expect(parseConfig(serving)).toMatchObject({ CORS_ORIGINS: [], TRUSTED_PROXIES: [], SIGN_IN_FAILURES: 5 })
    expect(parseConfig(serving).REGISTRATIONS_PER_ADDRESS).toBeUndefined()
    expect(parseConfig({ ...serving, REGISTRATIONS_PER_ADDRESS: '0' }).REGISTRATIONS_PER_ADDRESS).toBe(0)
  })

  test('are lists of origins and of addresses', () => {
    const CORS_ORIGINS = 'https://shop.example, http://127.0.0.1:5173'
    const TRUSTED_PROXIES = '10.0.0.0/8, ::1'
    expect(parseConfig({ ...serving, CORS_ORIGINS, TRUSTED_PROXIES })).toMatchObject({
      CORS_ORIGINS: ['https://shop.example', 'http://127.0.0.1:5173'],
      TRUSTED_PROXIES: ['10.0.0.0/8', '::1'],
    })
  })
})

describe('a secret that signs tokens', () => {
  test('has at least 32 bytes, however many letters these are', () => {
    const short = 'éàèùâêîôûçäëïöüñ'
    expect(parseConfig({ ...serving, JWT_KEYS: `k:${short}` }).JWT_KEYS[0]?.secret).toBe(short)
    const line = refusal(parseConfig, { ...serving, JWT_KEYS: `k:${'x'.repeat(31)}` })
    expect(line).toContain('the secret of k must have at least 32 bytes')
  })

  test('may hold a colon', () => {
    expect(parseConfig({ ...serving, JWT_KEYS: `k:${secret}:more` }).JWT_KEYS).toEqual([
      { kid: 'k', secret: `${secret}:more` },
    ])
  })
})

describe('signing in to the broker', () => {
  const sasl = { KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_USERNAME: 'me', KAFKA_SASL_PASSWORD: 'word' }

  test('takes a mechanism, a name and a password', () => {
    expect(brokerSettings(parseConfig({ ...serving, ...sasl, KAFKA_SSL: 'true' }))).toEqual({
      brokers: ['one:9092', 'two:9092'],
      ssl: true,
      ca: undefined,
      sasl: { mechanism: 'plain', username: 'me', password: 'word' },
    })
    expect(brokerSettings(parseConfig(serving))).toEqual({
      brokers: ['one:9092', 'two:9092'],
      ssl: false,
      ca: undefined,
    })
  })

  for (const name of ['KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD']) {
    test(`is refused without ${name}`, () => {
      for (const [parse, rest] of [
        [parseConfig, serving],
        [parseMigrateConfig, migrating],
      ] as const)
        expect(refusal(parse, { ...rest, ...sasl, [name]: undefined })).toContain(
          `${name} is needed with KAFKA_SASL_MECHANISM`,
        )
    })
  }

  test('is refused without a mechanism, when somebody is named', () => {
    for (const parse of [parseConfig, parseMigrateConfig])
      for (const name of ['KAFKA_SASL_USERNAME', 'ORDERS_KAFKA_SASL_USERNAME'])
        expect(refusal(parse, { ...serving, ...migrating, [name]: 'me' })).toContain(
          'KAFKA_SASL_MECHANISM is needed with',
        )
  })

  const own = {
    USERS_KAFKA_SASL_USERNAME: 'u',
    USERS_KAFKA_SASL_PASSWORD: 'u-word',
    ORDERS_KAFKA_SASL_USERNAME: 'o',
    ORDERS_KAFKA_SASL_PASSWORD: 'o-word',
  }
  const ownOfAll = { ...own, PAYMENTS_KAFKA_SASL_USERNAME: 'p', PAYMENTS_KAFKA_SASL_PASSWORD: 'p-word' }

  test('a module does by a name of its own, or by that of all', () => {
    const config = parseConfig({ ...serving, ...sasl, ...own })
    const names = [...moduleNames, undefined].map((module) => brokerSettings(config, module).sasl?.username)
    expect(names).toEqual(['u', 'o', 'me', 'me'])
    expect(brokerSettings(config, 'orders').sasl).toEqual({ mechanism: 'plain', username: 'o', password: 'o-word' })
  })

  test('nobody needs the name of all when every module has its own; migrate, which gives rights, does', () => {
    const { KAFKA_SASL_MECHANISM } = sasl
    expect(brokerSettings(parseConfig({ ...serving, KAFKA_SASL_MECHANISM, ...ownOfAll }), 'payments').sasl).toEqual({
      mechanism: 'plain',
      username: 'p',
      password: 'p-word',
    })
    expect(refusal(parseConfig, { ...serving, KAFKA_SASL_MECHANISM, ...own })).toContain(
      'KAFKA_SASL_USERNAME is needed',
    )
    expect(refusal(parseMigrateConfig, { ...migrating, KAFKA_SASL_MECHANISM, ...ownOfAll })).toContain(
      'KAFKA_SASL_USERNAME is needed',
    )
  })

  test('a process needs the names of the modules that it hosts, and holds no other', () => {
    const { KAFKA_SASL_MECHANISM } = sasl
    const config = parseConfig({ ...serving, KAFKA_SASL_MECHANISM, MODULES: 'orders,users', ...ownOfAll })
    expect(brokerSettings(config, 'orders').sasl?.username).toBe('o')
    expect(JSON.stringify(config)).not.toContain('p-word')
    expect(refusal(parseConfig, { ...serving, KAFKA_SASL_MECHANISM, MODULES: 'payments', ...own })).toContain(
      'KAFKA_SASL_USERNAME is needed',
    )
  })

  test('a module needs both, a name and its password', () => {
    for (const [name, other] of [
      ['ORDERS_KAFKA_SASL_USERNAME', 'ORDERS_KAFKA_SASL_PASSWORD'],
      ['ORDERS_KAFKA_SASL_PASSWORD', 'ORDERS_KAFKA_SASL_USERNAME'],
    ] as const)
      expect(refusal(parseConfig, { ...serving, ...sasl, ...own, [name]: undefined })).toContain(
        `${name} is needed with ${other}`,
      )
  })
})

test('the certificates of TLS_CA_FILE are read, and the broker’s must come from them', async () => {
  const { cert } = await createAuthority()
  const file = join(mkdtempSync(join(tmpdir(), 'bulkhead-config-')), 'ca.pem')
  writeFileSync(file, cert)
  for (const config of [
    parseConfig({ ...serving, TLS_CA_FILE: file }),
    parseMigrateConfig({ ...migrating, TLS_CA_FILE: file }),
  ])
    expect([config.TLS_CA_FILE, brokerSettings(config).ca]).toEqual([cert, cert])
  rmSync(dirname(file), { recursive: true })
})
