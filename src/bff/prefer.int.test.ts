import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { startTestApp } from '../test/app.ts'
import { consistency } from '../test/client.ts'
import { type Buyer, openShop } from '../test/shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { client } = shop

afterAll(async () => {
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
