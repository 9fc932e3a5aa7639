import { expect, test } from 'bun:test'
import { serviceEnvironment } from './environment.ts'
import { environmentVariables } from './service.ts'
import { newState } from './state.ts'
import { withDatabase } from './test-database.ts'

const state = { ...newState(), ports: { postgres: 20_001, broker: 20_002, redis: 20_003, provider: 20_004 } }

test('every variable is there, and reaches the ports that were chosen', () => {
  const environment = serviceEnvironment(state, {})
  expect(Object.keys(environment)).toEqual([...environmentVariables])
  expect(Object.values(environment)).not.toContain('')
  expect(environment.DATABASE_URL).toBe(`postgres://bulkhead:${state.secrets.postgres}@127.0.0.1:20001/bulkhead`)
  expect(environment.KAFKA_BROKERS).toBe('127.0.0.1:20002')
  expect(environment.REDIS_URL).toBe('redis://127.0.0.1:20003')
  expect(environment.PAYMENT_PROVIDER_URL).toBe('http://127.0.0.1:20004')
  expect(environment.JWT_KEYS).toMatch(/^dev:[\w-]{43,}$/)
})

test('each module has a role of its own, with a password of its own', () => {
  const { USERS_DATABASE_URL, ORDERS_DATABASE_URL, PAYMENTS_DATABASE_URL } = serviceEnvironment(state, {})
  const urls = [USERS_DATABASE_URL, ORDERS_DATABASE_URL, PAYMENTS_DATABASE_URL].map((url) => new URL(url))
  expect(urls.map((url) => url.username)).toEqual(['users', 'orders', 'payments'])
  expect(new Set(urls.map((url) => url.password)).size).toBe(3)
})

test('what the environment sets is passed through', () => {
  const env = { KAFKA_BROKERS: 'elsewhere:9092', OPERATOR_EMAIL: 'me@example.org', REDIS_URL: '' }
  expect(serviceEnvironment(state, env)).toMatchObject({
    KAFKA_BROKERS: 'elsewhere:9092',
    OPERATOR_EMAIL: 'me@example.org',
    REDIS_URL: 'redis://127.0.0.1:20003',
  })
})

test('everyone who uses the same given Postgres arrives at the same passwords of the roles', () => {
  const env = { DATABASE_URL: 'postgres://owner:p%40ss@db.example:5433/app?sslmode=require' }
  const mine = serviceEnvironment(state, env)
  const theirs = serviceEnvironment(newState(), env)
  expect(mine.USERS_DATABASE_URL).toBe(theirs.USERS_DATABASE_URL)
  expect(mine.USERS_DATABASE_URL).toMatch(/^postgres:\/\/users:[\w-]{43}@db\.example:5433\/app\?sslmode=require$/)
})

test('the tests get a database of their own on a given Postgres, for every role', () => {
  const env = { DATABASE_URL: 'postgres://owner@db:5432/app', USERS_DATABASE_URL: 'postgres://users:x@db:5432/app' }
  const environment = serviceEnvironment(state, withDatabase(env, 'bulkhead_test_7'))
  expect(environment.DATABASE_URL).toBe('postgres://owner@db:5432/bulkhead_test_7')
  expect(environment.USERS_DATABASE_URL).toBe('postgres://users:x@db:5432/bulkhead_test_7')
  expect(new URL(environment.ORDERS_DATABASE_URL).pathname).toBe('/bulkhead_test_7')
})
