import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { createLog } from '#platform/log'
import { createApp, withAllModules } from '../app.ts'
import { parseConfig } from '../config.ts'
import { startTestApp, testEnvironment } from './app.ts'
import { createClient, freshEmail, refusal } from './client.ts'
import { eventually } from './eventually.ts'

setDefaultTimeout(60_000)

const environment = await testEnvironment()
const other = await startTestApp({ RELAY_LEASE_MS: '500' })
await Promise.all(Object.values(other.app.hosted).map((module) => module.relayed()))
await eventually(async () => expect(await other.app.notReady()).toEqual([]), 30_000)
await other.stop()

/** A process whose broker is away. */
const config = parseConfig({
  ...environment,
  PORT: '0',
  HOST: '127.0.0.1',
  LOG_LEVEL: 'silent',
  KAFKA_BROKERS: '127.0.0.1:1',
  RELAY_LEASE_MS: '500',
  OUTBOX_MAX_AGE_MS: '1000',
})
const app = withAllModules(createApp(config, createLog({ level: 'silent', readable: false })))
await app.connected()
const server = app.serve()
app.start().catch(() => undefined)
const client = createClient(server.url.href.replace(/\/$/, ''))

afterAll(async () => {
  await server.stop(true)
  await app.stop()
})

const ada = () => ({ name: 'Ada', email: freshEmail(), password: 'correct horse battery staple' })
const register = (body = ada()) => client.send('POST', '/users', { body })
const mutation = 'mutation ($input: RegisterUserInput!) { registerUser(input: $input) { id } }'

test('a module that cannot tell what it does stops changing and goes on reading, until it can', async () => {
  const first = ada()
  expect(app.hosted.users.outboxAgeMs()).toBe(0)
  expect((await register(first)).status).toBe(201)
  const refused = await eventually(async () => {
    const answer = await register()
    expect(answer.status).toBe(503)
    return answer
  })
  expect([refusal(refused), refused.headers.get('retry-after')]).toEqual([{ status: 503, code: 'overloaded' }, '10'])
  expect(app.hosted.users.outboxAgeMs()).toBeGreaterThan(1_000)
  const mutated = await client.graphql(mutation, { input: ada() })
  expect([mutated.data, mutated.errors?.[0]?.extensions.code]).toEqual([null, 'overloaded'])

  // What reads goes on, and so do the changes of a module that has nothing to tell.
  expect((await client.send('GET', '/products')).status).toBe(200)
  expect(await client.signIn(first.email, first.password)).toBeString()
  expect(app.hosted.orders.outboxAgeMs()).toBe(0)

  const working = await startTestApp({ RELAY_LEASE_MS: '500' })
  try {
    await eventually(async () => expect((await register()).status).toBe(201), 30_000)
    expect(app.hosted.users.outboxAgeMs()).toBeLessThanOrEqual(1_000)
    await Promise.all(Object.values(working.app.hosted).map((module) => module.relayed()))
  } finally {
    await working.stop()
  }
})
