import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { prune } from '#platform/retention'
import { startTestApp } from '../../src/test/app.ts'
import { createClient, freshEmail } from '../../src/test/client.ts'
import { users } from './index.ts'
import { signOuts } from './schema.ts'

setDefaultTimeout(60_000)

const { app, url, stop } = await startTestApp()
const client = createClient(url)

afterAll(() => stop())

const { transact, read } = app.hosted.users.context({ correlationId: 'test', causationId: 'test' })

test('a sign-out is forgotten an hour after its token expired, and no token that lives comes back by that', async () => {
  const email = freshEmail()
  await client.send('POST', '/users', { body: { name: 'Ada', email, password: 'correct horse' } })
  const token = await client.signIn(email, 'correct horse')
  const own = await client.send('DELETE', '/sessions/current', { token })
  expect(own.status).toBe(204)
  const expired = Array.from({ length: 25 }, (_, index) => ({
    tokenId: Bun.randomUUIDv7(),
    userId: Bun.randomUUIDv7(),
    expiresAt: new Date(Date.now() - 3_600_000 * (index === 0 ? 0.9 : 1.1)),
  }))
  await transact(async (tx) => {
    await tx.insert(signOuts).values(expired)
  })
  for (const pruning of users.prunings ?? []) {
    expect(await prune(pruning, { postgres: app.databases.users, now: Date.now(), limit: 10 })).toBe(24)
  }
  const left = (await read.select().from(signOuts)).map(({ tokenId }) => tokenId)
  expect(left).toContain(expired[0]?.tokenId ?? '')
  expect(left).toHaveLength(2)
  await app.redis.delete(left.map((id) => `users:signed-out:${id}`))
  await app.hosted.users.snapshots.rebuild()
  expect((await client.send('GET', '/orders', { token })).status).toBe(401)
})
