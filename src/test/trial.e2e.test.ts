import { expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { userRegistered } from '#events/users'
import { type Verdict, createTrial } from '#platform/messaging/trial'
import { openPostgres } from '#platform/postgres'
import { testEnvironment } from './app.ts'
import { recordOf } from './messaging.ts'

setDefaultTimeout(60_000)

const environment = await testEnvironment()

const tryRegistration = (userId: string, consumer: string, overrides = {}): Promise<Verdict> => {
  const trial = createTrial({
    command: [process.execPath, join(import.meta.dir, '../trial.ts')],
    env: { ...environment, LOG_LEVEL: 'silent', ...overrides },
  })
  const registered = { userId, role: 'customer' as const, registeredAt: '2026-01-31T12:00:00.000Z' }
  const { topic, key, headers, value } = recordOf(userRegistered(userId, 1, registered))
  const accused = { consumer, position: 'user-events/0/0', record: { topic, key, headers, value: Buffer.from(value) } }
  return trial(accused, new AbortController().signal)
}

const known = async (userId: string): Promise<boolean> => {
  const owner = openPostgres({ url: environment['DATABASE_URL'] ?? '', name: 'test', poolSize: 1 })
  try {
    return (await owner.run('select 1 from orders.known_users where id = $1', [userId])).length === 1
  } finally {
    await owner.close()
  }
}

test('a message that is tried in a process of its own has its effect there', async () => {
  const userId = Bun.randomUUIDv7()
  expect(await tryRegistration(userId, 'orders.user-events')).toBe('lived')
  expect(await known(userId)).toBe(true)
})

test('a process that cannot reach what it needs does not try the message', async () => {
  const userId = Bun.randomUUIDv7()
  expect(await tryRegistration(userId, 'orders.user-events', { REDIS_URL: 'redis://127.0.0.1:1' })).toBe('untried')
  expect(await tryRegistration(userId, 'orders.user-events', { JWT_KEYS: 'wrong' })).toBe('untried')
  expect(await known(userId)).toBe(false)
})
