import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { startTestApp, testEnvironment } from '../test/app.ts'
import { createClient, refusal } from '../test/client.ts'
import { redisTraffic } from '../test/redis-traffic.ts'

setDefaultTimeout(60_000)

const redis = await redisTraffic((await testEnvironment())['REDIS_URL'] ?? '')
const app = await startTestApp({ REDIS_URL: redis.url })
const client = createClient(app.url)

afterAll(async () => {
  await app.stop()
  redis.close()
})

const { id, token } = await client.signUp()

/** The traffic of one request, without what the process asks by itself: a look that another command gets into is repeated. */
const trafficOf = async (request: () => Promise<{ status: number }>) => {
  for (let tries = 1; ; tries += 1) {
    const { result, commands, trips } = await redis.during(request)
    if (commands.length === 1 || tries === 20) return { status: result.status, commands, trips }
  }
}

const one = { commands: ['mget'], trips: 1 }

test('a read of a snapshot looks the sign-out, the account and the snapshot up in one round trip', async () => {
  const read = () => client.send('GET', `/users/${id}`, { token })
  expect(await trafficOf(read)).toEqual({ status: 200, ...one })
})

test('so does one that is answered 304, and one that is refused since the token was signed out', async () => {
  const headers = { 'if-none-match': '*' }
  expect(await trafficOf(() => client.send('GET', `/users/${id}`, { token, headers }))).toEqual({ status: 304, ...one })
  await client.send('DELETE', '/sessions/current', { token })
  const read = () => client.send('GET', `/users/${id}`, { token })
  expect(refusal(await read())).toEqual({ status: 401, code: 'unauthenticated' })
  expect(await trafficOf(read)).toEqual({ status: 401, ...one })
})
