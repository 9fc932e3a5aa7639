import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { openPostgres } from '#platform/postgres'
import { startTestApp } from '../test/app.ts'
import { type Answer, consistency, refusal } from '../test/client.ts'
import { openShop } from '../test/shop.ts'
import { stuckCheckout } from '../test/stuck-checkout.ts'
import { decodeConsistency, encodeConsistency } from './consistency.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { client, operator } = shop
const owner = openPostgres({ url: app.environment['DATABASE_URL'] ?? '', name: 'test', poolSize: 4 })

afterAll(async () => {
  await app.stop()
  await Promise.all([shop.close(), owner.close()])
})

/** While `work` runs, no consumer of the module can take a message in, so nothing new is projected. */
const whileNothingIsProjected = <T>(module: 'orders' | 'payments', work: () => Promise<T>): Promise<T> =>
  owner.transaction(async ({ run }) => {
    await run(`lock table ${module}.inbox in exclusive mode`)
    return work()
  })

const identified = z.looseObject({ id: z.uuid(), orderId: z.uuid().nullish() })

type Read = { path: string; token?: string | undefined; shows: object; hidden: object }

/**
 * Sends a command and reads with its token before anything of it is projected: another read proves that it is not there yet,
 * and the one with the token must not be answered without it.
 */
const expectWaiting = async (
  module: 'orders' | 'payments',
  command: () => Promise<Answer>,
  reads: (made: z.infer<typeof identified>, answer: Answer) => Read[],
) => {
  const pending = await whileNothingIsProjected(module, async () => {
    const answer = await command()
    expect(answer.status).toBeLessThan(300)
    const parsed = identified.safeParse(answer.body)
    const wanted = reads(parsed.data ?? { id: '' }, answer)
    const reading = wanted.map(({ path, token }) =>
      client.send('GET', path, { ...(token === undefined ? {} : { token }), headers: consistency(answer) }),
    )
    for (const { path, token, hidden } of wanted)
      expect(await client.send('GET', path, token === undefined ? {} : { token })).toMatchObject(hidden)
    return { wanted, reading }
  })
  for (const [index, answer] of (await Promise.all(pending.reading)).entries()) {
    const { status, body } = answer
    expect({ status, body }).toMatchObject({ status: 200, body: pending.wanted[index]?.shows ?? {} })
  }
}

const post = (path: string, token: string, body?: unknown) =>
  client.send('POST', path, { token, ...(body === undefined ? {} : { body }) })

describe('a read with the Consistency-Token of the command waits for', () => {
  test('an order that was placed, on its own and in the lists of its owner and of an operator', async () => {
    const [{ token }, { sku }] = [await shop.newBuyer(), await shop.newProduct()]
    const body = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }
    await expectWaiting(
      'orders',
      () => post('/orders', token, body),
      ({ id }) => [
        { path: `/orders/${id}`, token, shows: { id }, hidden: { status: 404 } },
        { path: '/orders', token, shows: { items: [{ id }] }, hidden: { body: { items: [] } } },
        {
          path: '/orders?limit=100',
          token: operator,
          shows: { items: expect.arrayContaining([expect.objectContaining({ id })]) },
          hidden: { body: { items: expect.not.arrayContaining([expect.objectContaining({ id })]) } },
        },
      ],
    )
  })

  test('an order that was cancelled', async () => {
    const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct()]
    const { id } = await shop.buy(buyer, [{ sku, quantity: 1 }])
    await shop.eventuallyOrder(id, { status: 'confirmed' })
    await shop.quiet(id)
    const cancelled = { id, status: 'cancelled', reason: 'requested' }
    await expectWaiting(
      'orders',
      () => post(`/orders/${id}/cancellation`, buyer.token),
      () => [
        { path: `/orders/${id}`, token: buyer.token, shows: cancelled, hidden: { body: { status: 'confirmed' } } },
        { path: '/orders', token: buyer.token, shows: { items: [cancelled] }, hidden: { body: { items: [{ id }] } } },
      ],
    )
  })

  test('a checkout that was started, and its order', async () => {
    const [{ token }, { sku }] = [await shop.newBuyer(), await shop.newProduct()]
    const body = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }
    await expectWaiting(
      'orders',
      () => post('/checkouts', token, body),
      ({ id, orderId }, { headers }) => {
        const named = decodeConsistency(headers.get('consistency-token') ?? '')
        expect(named.map(({ thing, id }) => [thing, id])).toEqual([
          ['checkout', id],
          ['order', orderId ?? ''],
        ])
        return [
          { path: `/checkouts/${id}`, token, shows: { id, orderId }, hidden: { status: 404 } },
          { path: `/orders/${orderId}`, token, shows: { id: orderId }, hidden: { status: 404 } },
          { path: '/orders', token, shows: { items: [{ id: orderId }] }, hidden: { body: { items: [] } } },
        ]
      },
    )
  })

  test('a checkout that could not even reserve, and has no order', async () => {
    const [{ token }, { sku }] = [await shop.newBuyer(), await shop.newProduct(1)]
    const body = { lines: [{ sku, quantity: 2 }], paymentToken: 'tok_visa' }
    const shows = { status: 'compensated', orderId: null, error: { code: 'out-of-stock' } }
    await expectWaiting(
      'orders',
      () => post('/checkouts', token, body),
      ({ id }) => [{ path: `/checkouts/${id}`, token, shows, hidden: { status: 404 } }],
    )
  })

  test('what an operator did to a checkout', async () => {
    const { id, token } = await stuckCheckout(shop, 'needs-operator')
    await expectWaiting(
      'orders',
      () => post(`/ops/sagas/${id}/skip`, operator),
      () => [
        {
          path: `/checkouts/${id}`,
          token,
          shows: { status: 'compensated' },
          hidden: { body: { status: 'completed' } },
        },
      ],
    )
  })

  test('a product that is new, that is renamed, and that has more in stock, whoever reads', async () => {
    const sku = `new-${Bun.randomUUIDv7()}`
    const price = { amount: 1_999, currency: 'EUR' }
    const put = (name: string) => client.send('PUT', `/products/${sku}`, { token: operator, body: { name, price } })
    const products = (shown: object, before: object | undefined): Read[] =>
      [undefined, operator].map((token) => ({
        path: '/products',
        token,
        shows: { items: expect.arrayContaining([shown]) },
        hidden: {
          body: before
            ? { items: expect.arrayContaining([before]) }
            : { items: expect.not.arrayContaining([expect.objectContaining({ sku })]) },
        },
      }))
    const [made, renamed] = [
      { sku, name: 'New', price, stock: 0 },
      { sku, name: 'Newer', price, stock: 0 },
    ]
    await expectWaiting(
      'orders',
      () => put('New'),
      () => products(made, undefined),
    )
    await expectWaiting(
      'orders',
      () => put('Newer'),
      () => products(renamed, made),
    )
    await expectWaiting(
      'orders',
      () => post(`/products/${sku}/stock`, operator, { delta: 7 }),
      () => products({ ...renamed, stock: 7 }, renamed),
    )
  })

  test('a settlement that was started', async () => {
    await expectWaiting(
      'payments',
      () => post('/settlements', operator, { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' }),
      ({ id }) => [
        { path: `/settlements/${id}`, token: operator, shows: { id, tasks: { total: 24 } }, hidden: { status: 404 } },
      ],
    )
  })

  test('what is there already not at all, as after a refund was asked for', async () => {
    const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct()]
    const { id } = await shop.buy(buyer, [{ sku, quantity: 1 }])
    const { paymentId } = await shop.eventuallyOrder(id, { status: 'confirmed' })
    await shop.eventuallyPayment(paymentId ?? '', { status: 'captured' })
    const path = `/payments/${paymentId}`
    await whileNothingIsProjected('payments', async () => {
      const answer = await post(`${path}/refund`, operator)
      const read = await client.send('GET', path, { token: buyer.token, headers: consistency(answer) })
      expect(read).toMatchObject({ status: 200, body: { id: paymentId, orderId: id, status: 'captured' } })
    })
    await shop.eventuallyPayment(paymentId ?? '', { status: 'refunded' })
  })
})

describe('a read with a token of a change that does not come', () => {
  const things: [module: string, thing: string, path: (id: string) => string][] = [
    ['orders', 'order', (id) => `/orders/${id}`],
    ['orders', 'order', () => '/orders'],
    ['orders', 'checkout', (id) => `/checkouts/${id}`],
    ['payments', 'payment', (id) => `/payments/${id}`],
    ['payments', 'settlement', (id) => `/settlements/${id}`],
    ['orders', 'product', () => '/products'],
  ]
  const headersFor = (module: string, thing: string, id: string) => ({
    'consistency-token': encodeConsistency([{ module, thing, id, version: 7 }]),
  })

  test('is a 503 that says when to come back, after five seconds', async () => {
    const began = performance.now()
    const reading = things.map(([module, thing, path]) => {
      const id = Bun.randomUUIDv7()
      return client.send('GET', path(id), { token: operator, headers: headersFor(module, thing, id) })
    })
    for (const answer of await Promise.all(reading)) {
      expect(refusal(answer)).toEqual({ status: 503, code: 'unavailable' })
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    }
    expect(performance.now() - began).toBeGreaterThanOrEqual(5_000)
  })

  test('is a 401 at once for nobody, who may wait for products only', async () => {
    for (const [module, thing, path] of things.filter(([, thing]) => thing !== 'product')) {
      const id = Bun.randomUUIDv7()
      const answer = await client.send('GET', path(id), { headers: headersFor(module, thing, id) })
      expect(refusal(answer)).toEqual({ status: 401, code: 'unauthenticated' })
      const products = await client.send('GET', '/products', { headers: headersFor(module, thing, id) })
      expect(refusal(products)).toEqual({ status: 401, code: 'unauthenticated' })
    }
    const headers = headersFor('orders', 'product', `never-${Bun.randomUUIDv7()}`)
    expect((await client.send('GET', '/products', { headers })).status).toBe(503)
  })
})
