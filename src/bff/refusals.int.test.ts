import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { startTestApp } from '../test/app.ts'
import { refusal } from '../test/client.ts'
import { openShop } from '../test/shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { client, operator } = shop

afterAll(async () => {
  await app.stop()
  await shop.close()
})

const customer = await shop.newBuyer()
const id = Bun.randomUUIDv7()
const { sku } = await shop.newProduct(100)

const cart = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }
const period = { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' }
const product = { name: 'Refused', price: { amount: 100, currency: 'EUR' } }

type Route = [method: string, path: string, body?: object]

/** The routes by who may use them. */
const forBuyers: Route[] = [
  ['POST', '/orders', cart],
  ['POST', '/checkouts', cart],
]
const forOwners: Route[] = [
  ['GET', `/orders/${id}`],
  ['POST', `/orders/${id}/cancellation`],
  ['GET', `/checkouts/${id}`],
  ['GET', `/payments/${id}`],
]
const forOperators: Route[] = [
  ['PUT', `/products/${sku}`, product],
  ['POST', `/products/${sku}/stock`, { delta: 1 }],
  ['POST', `/payments/${id}/refund`],
  ['POST', '/settlements', period],
  ['GET', `/settlements/${id}`],
  ['GET', '/ops/dead-letters'],
  ['GET', '/ops/sagas'],
  ...['dead-letters/ID/redrive', 'dead-letters/ID/skip', 'sagas/ID/retry', 'sagas/ID/skip', 'sagas/ID/compensate'].map(
    (path): Route => ['POST', `/ops/${path.replace('ID', id)}`],
  ),
]
const all: Route[] = [...forBuyers, ['GET', '/orders'], ...forOwners, ...forOperators]

const send = ([method, path, body]: Route, token?: string) =>
  client.send(method, path, { ...(token === undefined ? {} : { token }), ...(body === undefined ? {} : { body }) })

const { token: ended } = await client.signUp()
expect((await client.send('DELETE', '/sessions/current', { token: ended })).status).toBe(204)

describe('a 401 with the scheme to use is answered', () => {
  for (const route of all) {
    test(`without a token, with a forged one and with one that was signed out: ${route[0]} ${route[1]}`, async () => {
      for (const token of [undefined, 'forged', ended]) {
        const answer = await send(route, token)
        expect(refusal(answer)).toEqual({ status: 401, code: 'unauthenticated' })
        expect(answer.headers.get('www-authenticate')).toBe('Bearer')
      }
    })
  }

  test('to nobody before its request is looked at', async () => {
    for (const [method, path, body] of all.filter(([, , body]) => body !== undefined)) {
      expect(body).toBeDefined()
      for (const ill of [{}, '{', undefined])
        expect((await client.send(method, path, ill === undefined ? {} : { body: ill })).status).toBe(401)
    }
  })
})

describe('a 403 is answered', () => {
  const forbidden = { status: 403, code: 'forbidden' }

  for (const route of forOperators) {
    test(`to a customer, before its request is looked at: ${route[0]} ${route[1]}`, async () => {
      expect(refusal(await send(route, customer.token))).toEqual(forbidden)
      if (route[2] !== undefined)
        expect(refusal(await send([route[0], route[1], {}], customer.token))).toEqual(forbidden)
    })
  }

  for (const route of forBuyers) {
    test(`to an operator, who does not buy: ${route[0]} ${route[1]}`, async () => {
      expect(refusal(await send(route, operator))).toEqual(forbidden)
    })
  }
})

describe('a 404 with the title of what is missing is answered', () => {
  const titles: Record<string, [code: string, title: string]> = {
    orders: ['order-not-found', 'Order not found'],
    checkouts: ['checkout-not-found', 'Checkout not found'],
    payments: ['payment-not-found', 'Payment not found'],
    settlements: ['settlement-not-found', 'Settlement not found'],
    ops: ['not-found', 'Not found'],
  }
  const missing = [...forOwners, ...forOperators].filter(([, path]) => path.includes(id))

  for (const route of missing) {
    test(`for an id that there is not: ${route[0]} ${route[1].replace(id, 'ID')}`, async () => {
      const [code = '', title = ''] = titles[route[1].split('/')[1] ?? ''] ?? []
      const readers = forOwners.includes(route) ? [customer.token, operator] : [operator]
      for (const token of readers) expect((await send(route, token)).body).toMatchObject({ status: 404, code, title })
    })

    test(`and a 400 for one that is none: ${route[0]} ${route[1].replace(id, 'ID')}`, async () => {
      for (const ill of ['1', `${id}0`, '%00']) {
        const [method, path] = route
        const answer = await send([method, path.replace(id, ill)], operator)
        expect(answer.body).toMatchObject({ status: 400, code: 'invalid-input', errors: [{ path: 'id' }] })
      }
    })
  }

  test('for a product of which stock is to be added', async () => {
    const answer = await send(['POST', '/products/nothing/stock', { delta: 1 }], operator)
    expect(answer.body).toMatchObject({ status: 404, code: 'product-not-found', title: 'Product not found' })
  })
})

describe('a 400 that names the fields is answered', () => {
  const line = { sku, quantity: 1 }
  const carts: [string, unknown, string[]][] = [
    ['without anything', {}, ['lines', 'paymentToken']],
    ['without lines', { ...cart, lines: [] }, ['lines']],
    ['with lines that are no list', { ...cart, lines: line }, ['lines']],
    ['with more lines than anybody buys', { ...cart, lines: Array.from({ length: 101 }, () => line) }, ['lines']],
    ['with a line without anything', { ...cart, lines: [line, {}] }, ['lines.1.sku', 'lines.1.quantity']],
    ['with no piece', { ...cart, lines: [{ sku, quantity: 0 }] }, ['lines.0.quantity']],
    ['with a piece less than none', { ...cart, lines: [{ sku, quantity: -1 }] }, ['lines.0.quantity']],
    ['with half a piece', { ...cart, lines: [{ sku, quantity: 0.5 }] }, ['lines.0.quantity']],
    ['with a number in words', { ...cart, lines: [{ sku, quantity: '1' }] }, ['lines.0.quantity']],
    ['with too many pieces', { ...cart, lines: [{ sku, quantity: 1_001 }] }, ['lines.0.quantity']],
    ['with a SKU that is none', { ...cart, lines: [{ sku: 'a b', quantity: 1 }] }, ['lines.0.sku']],
    ['with a NUL in the SKU', { ...cart, lines: [{ sku: 'a\0', quantity: 1 }] }, ['lines.0.sku']],
    ['without a means to pay', { lines: cart.lines }, ['paymentToken']],
    ['with a means to pay that is none', { ...cart, paymentToken: 'tok visa' }, ['paymentToken']],
    ['with a body that is null', null, ['']],
    ['with a body that is a list', [cart], ['']],
    ['with a body that is broken JSON', '{"lines":', ['']],
    ['with an empty body', '', ['']],
  ]
  const prices: [string, unknown, string[]][] = [
    ['without anything', {}, ['name', 'price']],
    ['without a name', { ...product, name: ' ' }, ['name']],
    ['with a price of nothing', { ...product, price: { amount: 0, currency: 'EUR' } }, ['price.amount']],
    ['with a price in parts of a cent', { ...product, price: { amount: 1.5, currency: 'EUR' } }, ['price.amount']],
    ['with a price beyond 2^53', { ...product, price: { amount: 2 ** 53, currency: 'EUR' } }, ['price.amount']],
    ['with a price in words', { ...product, price: { amount: '1', currency: 'EUR' } }, ['price.amount']],
    ['with a currency that is none', { ...product, price: { amount: 1, currency: 'euro' } }, ['price.currency']],
  ]
  const deltas: [string, unknown, string[]][] = [
    ['without a delta', {}, ['delta']],
    ['with half a piece', { delta: 0.5 }, ['delta']],
    ['with a number in words', { delta: '1' }, ['delta']],
    ['with more than there can be', { delta: 1_000_000_001 }, ['delta']],
  ]
  const periods: [string, unknown, string[]][] = [
    ['without anything', {}, ['from', 'to']],
    ['with days instead of times', { from: '2026-01-01', to: '2026-02-01' }, ['from', 'to']],
    ['with a time without a zone', { ...period, from: '2026-01-01T00:00:00' }, ['from']],
    ['with seconds since 1970', { ...period, to: 1_767_225_600 }, ['to']],
    ['with an end before its beginning', { from: period.to, to: period.from }, ['to']],
    ['with an end at its beginning', { from: period.from, to: period.from }, ['to']],
  ]
  const bodies: [Route, string, [string, unknown, string[]][]][] = [
    [['POST', '/orders'], customer.token, carts],
    [['POST', '/checkouts'], customer.token, carts],
    [['PUT', '/products/refused'], operator, prices],
    [['POST', `/products/${sku}/stock`], operator, deltas],
    [['POST', '/settlements'], operator, periods],
  ]
  for (const [[method, path], token, ill] of bodies) {
    for (const [name, body, paths] of ill) {
      test(`${name}: ${method} ${path.replace(sku, 'SKU')}`, async () => {
        const answer = await client.send(method, path, { token, body })
        expect(answer.body).toMatchObject({ status: 400, code: 'invalid-input', title: 'Invalid input' })
        expect(answer.body).toMatchObject({ errors: paths.map((path) => ({ path })) })
      })
    }
  }

  test('for a SKU that is none', async () => {
    for (const ill of ['a%20b', 'a%00', 'x'.repeat(65), '%C3%A4']) {
      for (const [method, path, body] of [
        ['PUT', `/products/${ill}`, product],
        ['POST', `/products/${ill}/stock`, { delta: 1 }],
      ] as const) {
        const answer = await client.send(method, path, { token: operator, body })
        expect(answer.body).toMatchObject({ status: 400, errors: [{ path: 'sku' }] })
      }
    }
  })
})

describe('a body is refused before it is understood', () => {
  const withBody: [Route, string][] = [
    [['POST', '/orders', cart], customer.token],
    [['POST', '/checkouts', cart], customer.token],
    [['PUT', `/products/${sku}`, product], operator],
    [['POST', `/products/${sku}/stock`, { delta: 1 }], operator],
    [['POST', '/settlements', period], operator],
  ]
  for (const [[method, path, body], token] of withBody) {
    test(`when it is not JSON by its media type, or too large: ${method} ${path.replace(sku, 'SKU')}`, async () => {
      const headers = { 'content-type': 'text/plain' }
      expect((await client.send(method, path, { token, headers, body: JSON.stringify(body) })).status).toBe(415)
      const large = JSON.stringify({ ...body, padding: 'x'.repeat(100_000) })
      expect(refusal(await client.send(method, path, { token, body: large }))).toEqual({
        status: 413,
        code: 'too-large',
      })
    })
  }
})

describe('a command is refused', () => {
  test('with a 409 when there is too little in stock, and a checkout ends with that error', async () => {
    const { sku } = await shop.newProduct(1)
    const lines = [{ sku, quantity: 2 }]
    const outOfStock = { status: 409, code: 'out-of-stock', title: 'Out of stock' }
    expect((await shop.post('/orders', customer, lines, 'tok_visa')).body).toMatchObject(outOfStock)
    expect((await send(['POST', `/products/${sku}/stock`, { delta: -2 }], operator)).body).toMatchObject(outOfStock)
    const checkout = await shop.checkOut(customer, lines)
    expect(checkout).toMatchObject({
      status: 'compensated',
      orderId: null,
      paymentId: null,
      error: { code: 'out-of-stock' },
    })
    expect(checkout.steps.map(({ status }) => status)).toEqual(['failed', 'pending', 'pending', 'pending'])
    await shop.expectBalanced(sku)
  })

  test('with a 422 when a SKU is unknown, and when the currencies differ, by both ways to buy', async () => {
    const { sku: dollars } = await shop.newProduct(5, 'USD')
    const [one, other] = [sku, dollars].map((sku) => ({ sku, quantity: 1 }))
    for (const path of ['/orders', '/checkouts'] as const) {
      const unknown = await shop.post(path, customer, [{ sku: 'nothing', quantity: 1 }], 'tok_visa')
      expect(unknown.body).toMatchObject({ status: 422, code: 'unknown-sku', title: 'Unknown SKU' })
      const mixed = await shop.post(
        path,
        customer,
        [one, other].flatMap((line) => line ?? []),
        'tok_visa',
      )
      expect(mixed.body).toMatchObject({ status: 422, code: 'mixed-currencies', title: 'Mixed currencies' })
    }
    await shop.expectBalanced(dollars)
  })

  test('with a 409 when an order is cancelled already, and when a payment cannot be refunded', async () => {
    const { id } = await shop.buy(customer, [{ sku, quantity: 1 }], 'tok_declined')
    await shop.eventuallyOrder(id, { status: 'cancelled' })
    const again = await shop.cancel(id, customer.token)
    expect(again.body).toMatchObject({ status: 409, code: 'already-cancelled', title: 'Already cancelled' })
    const { id: payment } = (await shop.paymentOf(id)) ?? { id: '' }
    const refund = await shop.refund(payment)
    expect(refund.body).toMatchObject({ status: 409, code: 'not-refundable', title: 'Not refundable' })
  })
})
