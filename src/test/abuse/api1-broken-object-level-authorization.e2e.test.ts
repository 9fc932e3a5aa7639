import { expect, setDefaultTimeout, test } from 'bun:test'
import { consistency } from '../client.ts'
import { openWorld } from './world.ts'

setDefaultTimeout(120_000)

const { as, ask, attacker, checkout, client, order, paymentId, product, refuses, victim } = await openWorld()

const notFound = (thing: string) => ({ status: 404, code: `${thing}-not-found` })
const inGraphql = (thing: string) => ({ status: 200, code: `${thing}-not-found` })

refuses([
  { name: 'another’s account is read', send: () => as(attacker, 'GET', `/users/${victim.id}`), ...notFound('user') },
  {
    name: 'another’s account is renamed',
    send: () => as(attacker, 'PATCH', `/users/${victim.id}`, { name: 'Mallory was here' }),
    ...notFound('user'),
  },
  {
    name: 'another’s account is closed',
    send: () => as(attacker, 'DELETE', `/users/${victim.id}`),
    ...notFound('user'),
  },
  { name: 'another’s order is read', send: () => as(attacker, 'GET', `/orders/${order.id}`), ...notFound('order') },
  {
    name: 'another’s order is read in capital letters',
    send: () => as(attacker, 'GET', `/orders/${order.id.toUpperCase()}`),
    ...notFound('order'),
  },
  {
    name: 'another’s order is cancelled',
    send: () => as(attacker, 'POST', `/orders/${order.id}/cancellation`),
    ...notFound('order'),
  },
  {
    name: 'another’s checkout is read',
    send: () => as(attacker, 'GET', `/checkouts/${checkout.id}`),
    ...notFound('checkout'),
  },
  {
    name: 'another’s payment is read',
    send: () => as(attacker, 'GET', `/payments/${paymentId}`),
    ...notFound('payment'),
  },
  {
    name: 'an id of one kind is tried as another',
    send: () => as(attacker, 'GET', `/payments/${order.id}`),
    ...notFound('payment'),
  },
  {
    name: 'two ids are put in the place of one',
    send: () => as(attacker, 'GET', `/users/${attacker.id},${victim.id}`),
    status: 400,
    code: 'invalid-input',
  },
  {
    name: 'another’s account is asked for in GraphQL',
    send: () => ask(attacker, `{ user(id: "${victim.id}") { name email } }`),
    ...inGraphql('user'),
  },
  {
    name: 'another’s order is asked for in GraphQL',
    send: () => ask(attacker, `{ order(id: "${order.id}") { total { amount } user { email } } }`),
    ...inGraphql('order'),
  },
  {
    name: 'another’s account is renamed in GraphQL',
    send: () => ask(attacker, `mutation { renameUser(id: "${victim.id}", name: "Mallory") { id } }`),
    ...inGraphql('user'),
  },
  {
    name: 'another’s order is cancelled in GraphQL',
    send: () => ask(attacker, `mutation { cancelOrder(id: "${order.id}") { id } }`),
    ...inGraphql('order'),
  },
])

test('a list has nobody else’s orders, whatever it is asked for', async () => {
  for (const query of ['', `?userId=${victim.id}`, `?cursor=${Buffer.from(order.id).toString('base64url')}`]) {
    const { status, body } = await as(attacker, 'GET', `/orders${query}`)
    expect([status, body]).toEqual([200, { items: [], nextCursor: null }])
  }
})

test('what is not another’s and what is not there are told apart by nothing', async () => {
  const nowhere = await as(attacker, 'GET', `/orders/${Bun.randomUUIDv7()}`)
  const others = await as(attacker, 'GET', `/orders/${order.id}`)
  expect(others.body).toEqual(nowhere.body)
})

test('another’s Idempotency-Key and Consistency-Token are nobody’s secret kept', async () => {
  const key = { 'idempotency-key': 'the-same-for-both' }
  const cart = { lines: [{ sku: product.sku, quantity: 1 }], paymentToken: 'tok_visa' }
  const first = await as(victim, 'POST', '/orders', cart, key)
  const second = await as(attacker, 'POST', '/orders', cart, key)
  const ids = [first, second].map(({ body }) => body as { id: string; userId: string })
  expect(ids.map(({ userId }) => userId)).toEqual([victim.id, attacker.id])
  expect(ids[0]?.id).not.toBe(ids[1]?.id)
  const headers = consistency(first)
  const read = await client.send('GET', `/orders/${ids[0]?.id}`, { token: attacker.token, headers })
  expect([read.status, JSON.stringify(read.body)]).toEqual([404, expect.not.stringContaining(victim.id)])
})
