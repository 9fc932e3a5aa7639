import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { freshEmail } from '../client.ts'
import { openWorld } from './world.ts'

setDefaultTimeout(120_000)

let reached = 0
const inside = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch: () => {
    reached += 1
    return Response.json({ secret: 'of the metadata service' })
  },
})
const url = inside.url.href
const place = `127.0.0.1:${inside.port}`

const { as, ask, attacker, client, lines, product, refuses } = await openWorld()

afterAll(async () => {
  expect(reached).toBe(0)
  await inside.stop(true)
})

const invalid = { status: 400, code: 'invalid-input' }
const buyWith = (paymentToken: unknown) => as(attacker, 'POST', '/orders', { lines, paymentToken })

const paymentTokens = [
  url,
  `http://169.254.169.254/latest/meta-data/`,
  'file:///etc/passwd',
  'gopher://127.0.0.1:6379/_FLUSHALL',
  '../../refunds',
  '..%2f..%2frefunds',
  'tok_visa?redirect=http://127.0.0.1',
  'tok_visa\r\nHost: 127.0.0.1',
  'tok_visa#',
  { url },
]
refuses(
  paymentTokens.map((token) => ({
    name: `a payment token is ${JSON.stringify(token)}`,
    send: () => buyWith(token),
    ...invalid,
  })),
)

refuses([
  {
    name: 'a product is an address',
    send: () => as(attacker, 'POST', '/orders', { lines: [{ sku: url, quantity: 1 }], paymentToken: 'tok_visa' }),
    ...invalid,
  },
  {
    name: 'an id is a way out of the path',
    send: () => as(attacker, 'GET', `/orders/..%2f..%2fops%2fsagas`),
    ...invalid,
  },
  { name: 'an id is an address', send: () => as(attacker, 'GET', `/payments/${encodeURIComponent(url)}`), ...invalid },
  {
    name: 'an id of GraphQL is an address',
    send: () => ask(attacker, `{ payment(id: "${url}") { id } }`),
    status: 200,
    code: 'invalid-input',
  },
  {
    name: 'a cursor is an address',
    send: () => as(attacker, 'GET', `/orders?cursor=${Buffer.from(url).toString('base64url')}`),
    ...invalid,
  },
  {
    name: 'a document is a file',
    send: () => as(attacker, 'POST', '/graphql', { documentId: '../../../../etc/passwd' }),
    status: 400,
    code: /\w/,
  },
])

test('an address in a text is a text', async () => {
  const email = freshEmail()
  const body = { name: `${url} <img src="${url}">`, email, password: 'correct horse' }
  const registered = await client.send('POST', '/users', { body })
  expect([registered.status, registered.body]).toEqual([201, expect.objectContaining({ name: body.name })])
})

test('headers that name a host move nothing', async () => {
  const headers = {
    'x-forwarded-host': place,
    'x-forwarded-for': '127.0.0.1',
    'x-original-url': url,
    forwarded: `host=${place};for=127.0.0.1`,
    referer: url,
    origin: url,
    traceparent: url,
    'correlation-id': url,
  }
  const key = { ...headers, 'idempotency-key': Bun.randomUUIDv7() }
  const cart = { lines: [{ sku: product.sku, quantity: 1 }], paymentToken: 'tok_visa' }
  const answer = await as(attacker, 'POST', '/orders', cart, { ...key, prefer: 'wait=30' })
  expect(answer.status).toBe(200)
  expect(answer.headers.get('location')).toMatch(/^\/orders\/[0-9a-f-]{36}$/)
  expect(JSON.stringify([...answer.headers.entries()].filter(([name]) => name !== 'correlation-id'))).not.toContain(
    place,
  )
})
