import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { startTestApp, testEnvironment } from './app.ts'
import { createClient, freshEmail, refusal } from './client.ts'
import { openDetour } from './detour.ts'
import { eventually } from './eventually.ts'
import { openTestRedis } from './redis.ts'

setDefaultTimeout(60_000)

const environment = await testEnvironment()
const toRedis = await openDetour(environment['REDIS_URL'] ?? '')
const toPostgres = await openDetour(environment['USERS_DATABASE_URL'] ?? '')
const app = await startTestApp({ REDIS_URL: toRedis.url, USERS_DATABASE_URL: toPostgres.url })
const client = createClient(app.url)

afterAll(async () => {
  await app.stop()
  await Promise.all([toRedis.cut(), toPostgres.cut()])
})

const ready = () => eventually(async () => expect((await client.send('GET', '/readyz')).status).toBe(200), 30_000)

const registration = () => ({ name: 'Ada', email: freshEmail(), password: 'correct horse battery staple' })

const unavailable = { status: 503, code: 'unavailable' }

/** Expects a refusal that says when to come back, and nothing about what is inside. */
const expectUnavailable = async (method: string, path: string, sent: Parameters<typeof client.send>[2] = {}) => {
  const answer = await client.send(method, path, sent)
  expect(refusal(answer)).toEqual(unavailable)
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(JSON.stringify(answer.body)).not.toMatch(/127\.0\.0\.1|ECONN|redis:|postgres:/)
}

const notReady = async () => {
  const { status, body } = await client.send('GET', '/readyz')
  expect(status).toBe(503)
  return JSON.stringify(body)
}

describe('while Redis is away', () => {
  test('reads, sign-ins and changes of the signed-in are a 503, registering goes on, and all of it comes back', async () => {
    const { id, token, email, password, user } = await client.signUp()
    await toRedis.cut()
    try {
      await expectUnavailable('GET', `/users/${id}`, { token })
      await expectUnavailable('PATCH', `/users/${id}`, { token, body: { name: 'No' } })
      await expectUnavailable('POST', '/sessions', { body: { email, password } })
      const { data, errors } = await client.graphql('{ me { id } }', {}, { token })
      expect([data, errors?.[0]?.extensions.code]).toEqual([{ me: null }, 'unavailable'])
      expect(await notReady()).toContain('Redis')
      expect((await client.send('GET', '/livez')).status).toBe(200)
      expect((await client.send('POST', '/users', { body: registration() })).status).toBe(201)
    } finally {
      await toRedis.mend()
    }
    await ready()
    expect((await client.send('GET', `/users/${id}`, { token })).body).toEqual(user)
  })

  test('what was registered is projected once it is back', async () => {
    const body = registration()
    await toRedis.cut()
    try {
      expect((await client.send('POST', '/users', { body })).status).toBe(201)
    } finally {
      await toRedis.mend()
    }
    await ready()
    const token = await client.signIn(body.email, body.password)
    await eventually(async () => {
      const { data } = await client.graphql('{ me { name email } }', {}, { token })
      expect(data).toEqual({ me: { name: body.name, email: body.email } })
    })
  })
})

describe('while Postgres is away', () => {
  test('commands are a 503, reads go on from Redis, and all of it comes back', async () => {
    const { id, token, email, password, user } = await client.signUp()
    await toPostgres.cut()
    try {
      await expectUnavailable('POST', '/users', { body: registration() })
      await expectUnavailable('PATCH', `/users/${id}`, { token, body: { name: 'No' } })
      await expectUnavailable('DELETE', '/sessions/current', { token })
      await expectUnavailable('POST', '/sessions', { body: { email, password } })
      expect((await client.send('GET', `/users/${id}`, { token })).body).toEqual(user)
      expect(await notReady()).toContain('users: Postgres')
      expect((await client.send('GET', '/livez')).status).toBe(200)
    } finally {
      await toPostgres.mend()
    }
    await ready()
    const renamed = await client.send('PATCH', `/users/${id}`, { token, body: { name: 'Back' } })
    expect(renamed.body).toEqual({ ...user, name: 'Back', version: 2 })
  })

  test('a wiped Redis is a 503 and not a missing user, until both are back', async () => {
    const { id, token, user } = await client.signUp()
    await toPostgres.cut()
    try {
      const redis = openTestRedis(environment)
      await redis.flushall()
      redis.disconnect()
      await expectUnavailable('GET', `/users/${id}`, { token })
      expect(await notReady()).toContain('snapshots')
    } finally {
      await toPostgres.mend()
    }
    await ready()
    expect((await client.send('GET', `/users/${id}`, { token })).body).toEqual(user)
  })
})
