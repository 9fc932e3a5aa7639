import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { eventually } from '../test/eventually.ts'
import { testServices } from '../test/services.ts'
import { TooManyAttemptsError } from './errors.ts'
import { createLog } from './log.ts'
import { createRateLimit } from './rate-limit.ts'
import { openRedis } from './redis.ts'

setDefaultTimeout(60_000)

const log = createLog({ level: 'silent', readable: false })
const { REDIS_URL } = await testServices()
const redis = openRedis({ url: REDIS_URL, name: 'test', log })
await redis.connected(10_000)

afterAll(() => redis.close())

const limitOf = (options: { windowMs?: number; client?: typeof redis } = {}) =>
  createRateLimit({
    redis: options.client ?? redis,
    prefix: `test:${Bun.randomUUIDv7()}`,
    max: 3,
    windowMs: options.windowMs ?? 60_000,
    refusal: 'There were too many.',
  })

/** Three attempts, which are let through. */
const exhaust = async (limit: ReturnType<typeof limitOf>, name: string) => {
  for (let time = 0; time < 3; time += 1) await limit.take(name)
}

const refused = async (limit: ReturnType<typeof limitOf>, name: string): Promise<TooManyAttemptsError> => {
  const error = await limit.take(name).catch((thrown: unknown) => thrown)
  if (!(error instanceof TooManyAttemptsError)) throw new Error('It was let through.')
  return error
}

test('one attempt too many is refused, and says when the window ends', async () => {
  const limit = limitOf()
  await exhaust(limit, 'ada')
  const { message, retryAfterSeconds } = await refused(limit, 'ada')
  expect(message).toBe('There were too many.')
  expect(retryAfterSeconds).toBeGreaterThan(0)
  expect(retryAfterSeconds).toBeLessThanOrEqual(60)
})

test('attempts that are made at once are all counted', async () => {
  const limit = limitOf()
  const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => limit.take('ada')))
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
})

test('another name has a count of its own', async () => {
  const limit = limitOf()
  await exhaust(limit, 'ada')
  await exhaust(limit, 'bob')
  await refused(limit, 'bob')
})

test('the next window begins at nothing', async () => {
  const limit = limitOf({ windowMs: 300 })
  await eventually(async () => {
    await exhaust(limit, 'ada')
    await refused(limit, 'ada')
  })
  await eventually(() => limit.take('ada'))
})

test('while Redis is away everything is let through', async () => {
  const away = openRedis({ url: 'redis://127.0.0.1:1', name: 'test', log })
  const limit = limitOf({ client: away })
  await exhaust(limit, 'ada')
  await exhaust(limit, 'ada')
  away.close()
})
