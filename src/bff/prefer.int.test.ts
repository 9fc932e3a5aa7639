import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Hono } from 'hono'
import { createNews } from '#platform/news'
import { type RedisClient, openRedis } from '#platform/redis'
import { startTestApp } from '../test/app.ts'
import { consistency } from '../test/client.ts'
import { eventually } from '../test/eventually.ts'
import { openInstance } from '../test/instance.ts'
import { silent } from '../test/messaging.ts'
import { type Buyer, openShop } from '../test/shop.ts'
import { createLoad } from './load.ts'
import { awaitPreferred } from './prefer.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { client } = shop

const clients: RedisClient[] = []

afterAll(async () => {
  for (const client of clients) client.close()
  await app.stop()
  await shop.close()
})

const { sku } = await shop.newProduct(1_000)
const lines = [{ sku, quantity: 1 }]

const post = (buyer: Buyer, path: string, paymentToken: string, headers: Record<string, string>) =>
  client.send('POST', path, { token: buyer.token, body: { lines, paymentToken }, headers })

const prefer = { prefer: 'wait=30' }

describe('a client that prefers to wait is answered with how it ended', () => {
  const endings: [path: string, paymentToken: string, status: string][] = [
    ['/orders', 'tok_visa', 'confirmed'],
    ['/orders', 'tok_declined', 'cancelled'],
    ['/checkouts', 'tok_visa', 'completed'],
    ['/checkouts', 'tok_declined', 'compensated'],
  ]
  for (const [path, paymentToken, status] of endings) {
    test(`POST ${path} with ${paymentToken}: ${status}`, async () => {
      const buyer = await shop.newBuyer()
      const answer = await post(buyer, path, paymentToken, prefer)
      expect(answer).toMatchObject({ status: 200, body: { status } })
      expect(answer.headers.get('preference-applied')).toBe('wait=30')
      const location = answer.headers.get('location') ?? ''
      const read = await client.send('GET', location, { token: buyer.token, headers: consistency(answer) })
      expect(read.body).toEqual(answer.body)
    })
  }
})

test('what does not end in time is answered as if nobody had waited', async () => {
  const answer = await post(await shop.newBuyer(), '/orders', 'tok_slow', { prefer: 'wait=1' })
  expect(answer).toMatchObject({ status: 202, body: { status: 'pending', version: 1 } })
  expect(answer.headers.get('preference-applied')).toBe('wait=1')
})

test('a refusal is not waited for', async () => {
  const body = { lines: [{ sku, quantity: 1_000 }], paymentToken: 'tok_visa' }
  const { token } = await shop.newBuyer()
  const headers = { ...prefer, 'idempotency-key': 'refused' }
  for (const answer of [1, 2].map(() => client.send('POST', '/orders', { token, body, headers })))
    expect((await answer).status).toBe(409)
})

test('the answer that is kept for an Idempotency-Key is the first one, and whoever repeats may wait', async () => {
  const buyer = await shop.newBuyer()
  const key = { 'idempotency-key': 'once' }
  const waited = await post(buyer, '/orders', 'tok_visa', { ...key, ...prefer })
  const first = await post(buyer, '/orders', 'tok_visa', key)
  const again = await post(buyer, '/orders', 'tok_visa', { ...key, ...prefer })
  expect([waited.status, first.status, again.status]).toEqual([200, 202, 200])
  expect(first.body).toMatchObject({ status: 'pending', version: 1 })
  expect(again.body).toEqual(waited.body)
  expect(new Set([waited, first, again].map(({ headers }) => headers.get('location'))).size).toBe(1)
  const { body } = await client.send('GET', '/orders', { token: buyer.token, headers: consistency(waited) })
  expect((body as { items: unknown[] }).items).toHaveLength(1)
})

test('what another process changed reaches who waits at this one', async () => {
  const { client: here, close } = await openInstance(app.environment)
  try {
    const buyer = await shop.newBuyer()
    const body = { lines, paymentToken: 'tok_slow' }
    const answer = await here.send('POST', '/orders', { token: buyer.token, body, headers: prefer })
    expect(answer).toMatchObject({ status: 200, body: { status: 'confirmed' } })
  } finally {
    await close()
  }
})

const connect = async (name: string) => {
  const redis = openRedis({ url: app.environment['REDIS_URL'] ?? '', name, log: silent })
  clients.push(redis)
  await redis.connected(10_000)
  return redis
}

test('who waits is told by the process that wrote the snapshot, without looking by itself', async () => {
  const [here, there] = await Promise.all([connect('here'), connect('there')])
  const waits = { load: createLoad(1), stopping: new AbortController().signal, lookEveryMs: 3_600_000 }
  const key = `test:thing:${Bun.randomUUIDv7()}`
  let looks = 0
  const look = async () => {
    const [stored] = await here.get([key])
    looks += 1
    return stored ?? undefined
  }
  const process = new Hono().post('/', async (c) => {
    const found = await awaitPreferred(c, { ...waits, news: createNews(here) }, { key, look })
    return c.text(found ?? 'nothing')
  })
  const waiting = waits.load.admit(async () => process.request('/', { method: 'POST', headers: prefer }))
  await eventually(() => expect(looks).toBeGreaterThan(0))
  const value = '{"version":1}'
  await there.setUnlessNewer([{ key, version: 1, value }])
  expect(await (await waiting).text()).toBe(value)
  await there.delete([key])
})
