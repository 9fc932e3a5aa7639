import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { freshEmail } from '../client.ts'
import { openWorld } from './world.ts'

setDefaultTimeout(120_000)

const { as, ask, attacker, client, eventuallyOrder, lines, operator, order, product, refuses, state, victim } =
  await openWorld()

const cart = { lines, paymentToken: 'tok_visa' }
/** GraphQL's own refusal of a document, or with 400 of its variables. */
const notInSchema = (status = 200) => ({ status, code: /^(GRAPHQL_VALIDATION_FAILED|invalid-query)$/ })

refuses([
  {
    name: 'a customer sets the stock of a product with its price',
    send: () => as(attacker, 'PUT', `/products/${product.sku}`, { name: 'Mine', price: product.price, stock: 1 }),
    status: 403,
    code: 'forbidden',
  },
  {
    name: 'the hash of a password is asked for in GraphQL',
    send: () => ask(attacker, '{ me { id passwordHash } }'),
    ...notInSchema(),
  },
  {
    name: 'the role is asked for in GraphQL',
    send: () => ask(attacker, '{ me { id role } }'),
    ...notInSchema(),
  },
  {
    name: 'a role is given at registration in GraphQL',
    send: () =>
      ask(
        attacker,
        `mutation { registerUser(input: { name: "M", email: "${freshEmail()}", password: "correct horse", role: operator }) { id } }`,
      ),
    ...notInSchema(),
  },
  {
    name: 'a price is given with an order in GraphQL',
    send: () =>
      ask(
        attacker,
        `mutation { placeOrder(input: { lines: [{ sku: "${product.sku}", quantity: 1, price: { amount: 1 } }], paymentToken: "tok_visa" }) { id } }`,
      ),
    ...notInSchema(),
  },
  {
    name: 'a variable holds more than its type',
    send: () =>
      ask(attacker, 'mutation ($input: PlaceOrderInput!) { placeOrder(input: $input) { id } }', {
        input: { ...cart, userId: victim.id },
      }),
    ...notInSchema(400),
  },
])

describe('what is not asked for is not taken', () => {
  const more = {
    role: 'operator',
    status: 'closed',
    version: 99,
    id: Bun.randomUUIDv7(),
    createdAt: '1970-01-01',
    passwordHash: 'x',
  }

  test('at a registration', async () => {
    const email = freshEmail()
    const answer = await client.send('POST', '/users', {
      body: { name: 'M', email, password: 'correct horse', ...more },
    })
    expect(answer.body).toEqual(expect.objectContaining({ status: 'active', version: 1, email }))
    expect((answer.body as { id: string }).id).not.toBe(more.id)
    const token = await client.signIn(email, 'correct horse')
    expect((await client.send('GET', '/ops/sagas', { token })).status).toBe(403)
  })

  test('at a renaming', async () => {
    const body = { name: 'Mallory', ...more, email: 'victim@example.com', password: 'correct horse' }
    const answer = await as(attacker, 'PATCH', `/users/${attacker.id}`, body)
    expect(answer.body).toEqual({ ...attacker.user, name: 'Mallory', version: attacker.user.version + 1 })
  })

  test('at a purchase: the price, the buyer and the state are the server’s', async () => {
    const body = {
      ...cart,
      lines: [{ sku: product.sku, quantity: 2, price: { amount: 1, currency: 'EUR' }, name: 'Free' }],
      userId: victim.id,
      total: { amount: 1, currency: 'EUR' },
      status: 'confirmed',
      paymentId: order.paymentId,
    }
    const answer = await as(attacker, 'POST', '/orders', body)
    const total = { ...product.price, amount: 2 * product.price.amount }
    expect(answer.body).toMatchObject({ userId: attacker.id, status: 'pending', total, paymentId: null })
    await eventuallyOrder((answer.body as { id: string }).id, { status: 'confirmed', total })
  })

  test('as a prototype', async () => {
    const before = await state()
    for (const name of ['__proto__', 'constructor', 'prototype']) {
      const body = `{"name":"Mallory 2","${name}":{"role":"operator","isAdmin":true}}`
      expect((await as(attacker, 'PATCH', `/users/${attacker.id}`, body)).status).toBe(200)
    }
    expect(Reflect.get({}, 'isAdmin')).toBeUndefined()
    expect((await as(attacker, 'GET', '/ops/sagas')).status).toBe(403)
    expect({ ...(await state()), users: '' }).toEqual({ ...before, users: '' })
  })
})

test('no answer has more fields than its document says, whoever asks', async () => {
  for (const path of [`/users/${victim.id}`, `/orders/${order.id}`, '/orders', '/products'])
    expect(JSON.stringify((await client.send('GET', path, { token: operator })).body)).not.toMatch(
      /password|hash|role|emailKey/i,
    )
})
