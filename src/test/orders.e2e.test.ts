import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { orderSnapshot } from '#modules/orders'
import { startTestApp } from './app.ts'
import { consistency, refusal } from './client.ts'
import { openShop } from './shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)

afterAll(async () => {
  await app.stop()
  await shop.close()
})

const orderPage = z.object({ items: z.array(orderSnapshot), nextCursor: z.string().nullable() })

describe('an order', () => {
  test('is answered pending, at the prices of the shop, and confirmed once its payment is captured', async () => {
    const [buyer, tea, cup] = [await shop.newBuyer(), await shop.newProduct(5), await shop.newProduct(5)]
    const lines = [
      { sku: tea.sku, quantity: 1 },
      { sku: cup.sku, quantity: 2 },
      { sku: tea.sku, quantity: 1 },
    ]
    const answer = await shop.post('/orders', buyer, lines, 'tok_visa')
    expect(answer.status).toBe(202)
    const placed = orderSnapshot.parse(answer.body)
    expect(placed).toMatchObject({ status: 'pending', reason: null, paymentId: null, version: 1, userId: buyer.id })
    expect(placed.lines).toEqual([
      { sku: tea.sku, name: `The ${tea.sku}`, quantity: 2, price: tea.price },
      { sku: cup.sku, name: `The ${cup.sku}`, quantity: 2, price: cup.price },
    ])
    const amount = 2 * tea.price.amount + 2 * cup.price.amount
    expect(placed.total).toEqual({ amount, currency: 'EUR' })
    expect(answer.headers.get('location')).toBe(`/orders/${placed.id}`)
    const read = await shop.client.send('GET', `/orders/${placed.id}`, {
      token: buyer.token,
      headers: consistency(answer),
    })
    expect(read.body).toMatchObject({ id: placed.id, userId: buyer.id })

    const confirmed = await shop.eventuallyOrder(placed.id, { status: 'confirmed', version: 2 })
    expect(confirmed).toEqual({ ...placed, status: 'confirmed', version: 2, paymentId: expect.any(String) })
    const payment = await shop.eventuallyPayment(confirmed.paymentId ?? '', { status: 'captured' })
    expect(payment).toMatchObject({ orderId: placed.id, userId: buyer.id, amount: { amount, currency: 'EUR' } })
    await shop.quiet(placed.id)
    expect(await shop.ledgerOf(amount)).toEqual(['capture'])
    for (const { sku } of [tea, cup]) {
      await shop.eventuallyStock(sku, 3)
      await shop.expectBalanced(sku)
    }
  })

  test('whose payment is declined is cancelled, and its stock comes back', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id } = await shop.buy(buyer, [{ sku, quantity: 3 }], 'tok_declined')
    const { paymentId } = await shop.eventuallyOrder(id, { status: 'cancelled', reason: 'declined', version: 2 })
    await shop.eventuallyPayment(paymentId ?? '', { status: 'declined' })
    await shop.eventuallyStock(sku, 5)
    await shop.expectBalanced(sku)
    await shop.quiet(id)
    expect(await shop.paymentOf(id)).toMatchObject({ status: 'declined' })
    expect(await shop.ledgerOf(3 * price.amount)).toEqual([])
  })

  test('with a token that the provider does not know is declined', async () => {
    const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id } = await shop.buy(buyer, [{ sku, quantity: 1 }], 'tok_of_nobody')
    await shop.eventuallyOrder(id, { status: 'cancelled', reason: 'declined' })
    await shop.eventuallyStock(sku, 5)
  })

  for (const paymentToken of ['tok_flaky', 'tok_lost', 'tok_slow']) {
    test(`paid with ${paymentToken} is confirmed, with exactly one charge at the provider`, async () => {
      const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
      const { id } = await shop.buy(buyer, [{ sku, quantity: 2 }], paymentToken)
      const { paymentId } = await shop.eventuallyOrder(id, { status: 'confirmed' })
      await shop.eventuallyPayment(paymentId ?? '', { status: 'captured' })
      await shop.quiet(id)
      expect(await shop.ledgerOf(2 * price.amount)).toEqual(['capture'])
    })
  }
})

describe('what an order costs', () => {
  test('is never up to the client: prices, totals and users that it sends are passed over', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const cheap = { amount: 1, currency: 'EUR' }
    const body = {
      lines: [{ sku, quantity: 1, price: cheap, name: 'Gratis' }],
      paymentToken: 'tok_visa',
      total: cheap,
      userId: Bun.randomUUIDv7(),
      status: 'confirmed',
    }
    const answer = await shop.client.send('POST', '/orders', { token: buyer.token, body })
    const order = orderSnapshot.parse(answer.body)
    expect(order).toMatchObject({ status: 'pending', total: price, userId: buyer.id })
    expect(order.lines).toEqual([{ sku, name: `The ${sku}`, quantity: 1, price }])
    await shop.eventuallyOrder(order.id, { status: 'confirmed' })
    expect(await shop.ledgerOf(price.amount)).toEqual(['capture'])
    expect(await shop.ledgerOf(1)).toEqual([])
  })

  test('stays as it was when the price changes afterwards', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id } = await shop.buy(buyer, [{ sku, quantity: 1 }])
    const dearer = { name: 'Dearer', price: { ...price, amount: price.amount + 1 } }
    const put = await shop.client.send('PUT', `/products/${sku}`, { token: shop.operator, body: dearer })
    expect(put.status).toBe(200)
    const confirmed = await shop.eventuallyOrder(id, { status: 'confirmed' })
    expect(confirmed.total).toEqual(price)
    expect(await shop.ledgerOf(price.amount)).toEqual(['capture'])
  })
})

describe('a purchase is refused', () => {
  test('for what is not known, mixed or not in stock, and nothing is left of it', async () => {
    const [buyer, euros, dollars] = [await shop.newBuyer(), await shop.newProduct(5), await shop.newProduct(5, 'USD')]
    const lines = (...skus: string[]) => skus.map((sku) => ({ sku, quantity: 1 }))
    const refusals = [
      [lines(euros.sku, 'no-such-thing'), { status: 422, code: 'unknown-sku' }],
      [lines(euros.sku, dollars.sku), { status: 422, code: 'mixed-currencies' }],
      [[...lines(dollars.sku), { sku: dollars.sku, quantity: 5 }], { status: 409, code: 'out-of-stock' }],
      [[], { status: 400, code: 'invalid-input' }],
      [[{ sku: euros.sku, quantity: 0 }], { status: 400, code: 'invalid-input' }],
      [[{ sku: euros.sku, quantity: 1.5 }], { status: 400, code: 'invalid-input' }],
    ] as const
    for (const [wanted, expected] of refusals) {
      expect(refusal(await shop.post('/orders', buyer, [...wanted], 'tok_visa'))).toEqual(expected)
    }
    const mine = await shop.orders.run('select 1 from orders where user_id = $1', [buyer.id])
    expect(mine).toEqual([])
    for (const { sku } of [euros, dollars]) await shop.eventuallyStock(sku, 5)
  })

  test('to an operator, and to who has not signed in', async () => {
    const { sku } = await shop.newProduct(5)
    const lines = [{ sku, quantity: 1 }]
    const operator = { id: '', token: shop.operator }
    expect(refusal(await shop.post('/orders', operator, lines, 'tok_visa'))).toEqual({ status: 403, code: 'forbidden' })
    const body = { lines, paymentToken: 'tok_visa' }
    expect(refusal(await shop.client.send('POST', '/orders', { body }))).toEqual({
      status: 401,
      code: 'unauthenticated',
    })
  })

  test('to all but ten of the hundred who race for the last ten, and the stock never falls below zero', async () => {
    const { sku } = await shop.newProduct(10)
    const buyers = await Promise.all(Array.from({ length: 100 }, shop.newBuyer))
    const answers = await Promise.all(
      buyers.map((buyer) => shop.post('/orders', buyer, [{ sku, quantity: 1 }], 'tok_visa')),
    )
    const won = answers.filter(({ status }) => status === 202)
    const lost = answers.filter(({ status }) => status !== 202)
    expect(won).toHaveLength(10)
    expect(lost.map(refusal)).toEqual(lost.map(() => ({ status: 409, code: 'out-of-stock' })))
    for (const { body } of won) await shop.eventuallyOrder(orderSnapshot.parse(body).id, { status: 'confirmed' })
    await shop.eventuallyStock(sku, 0)
    await shop.expectBalanced(sku)
  })
})

describe('an Idempotency-Key', () => {
  test('makes one order of twenty that are sent at the same moment, and gives the first answer again', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(30)]
    const headers = { 'idempotency-key': Bun.randomUUIDv7() }
    const body = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }
    const send = (body: unknown) => shop.client.send('POST', '/orders', { token: buyer.token, headers, body })
    const answers = await Promise.all(Array.from({ length: 20 }, () => send(body)))
    answers.push(await send(body))
    const seen = answers.map(({ status, headers, body }) => ({ status, location: headers.get('location'), body }))
    expect(seen).toEqual(seen.map(() => ({ status: 202, location: seen[0]?.location ?? '', body: seen[0]?.body })))
    const { id } = orderSnapshot.parse(answers[0]?.body)
    await shop.eventuallyOrder(id, { status: 'confirmed' })
    await shop.eventuallyStock(sku, 29)
    expect(await shop.ledgerOf(price.amount)).toEqual(['capture'])
    const other = await send({ ...body, paymentToken: 'tok_declined' })
    expect(refusal(other)).toEqual({ status: 422, code: 'idempotency-key-reused' })
  })
})

describe('the list of orders', () => {
  test('has the own ones, newest first, in pages that meet without a gap', async () => {
    const [buyer, somebodyElse, { sku }] = [await shop.newBuyer(), await shop.newBuyer(), await shop.newProduct(100)]
    const placed: string[] = []
    for (let count = 0; count < 7; count += 1) placed.push((await shop.buy(buyer, [{ sku, quantity: 1 }])).id)
    const foreign = await shop.buy(somebodyElse, [{ sku, quantity: 1 }])
    for (const id of [...placed, foreign.id]) await shop.eventuallyOrder(id, { status: 'confirmed' })

    const page = async (query: string, token = buyer.token) => {
      const { status, body } = await shop.client.send('GET', `/orders${query}`, { token })
      expect(status).toBe(200)
      return orderPage.parse(body)
    }
    const newestFirst = placed.toReversed()
    const all = await page('')
    expect(all.items.map(({ id }) => id)).toEqual(newestFirst)
    expect(all.nextCursor).toBeNull()

    const walked: string[][] = []
    for (let cursor: string | null = ''; cursor !== null;) {
      const { items, nextCursor } = await page(`?limit=3${cursor && `&cursor=${cursor}`}`)
      walked.push(items.map(({ id }) => id))
      cursor = nextCursor
    }
    expect(walked).toEqual([newestFirst.slice(0, 3), newestFirst.slice(3, 6), newestFirst.slice(6)])
    expect((await page('?limit=7')).nextCursor).toBeNull()

    const seen = (await page('?limit=100', shop.operator)).items
    expect(seen.map(({ id }) => id)).toEqual(expect.arrayContaining([...placed, foreign.id]))
    expect(seen.map(({ createdAt }) => createdAt)).toEqual(
      seen
        .map(({ createdAt }) => createdAt)
        .toSorted()
        .toReversed(),
    )
  })

  test('takes limits from 1 to 100 and only its own cursors', async () => {
    const { token } = await shop.newBuyer()
    for (const query of ['limit=0', 'limit=101', 'limit=-1', 'limit=many', 'limit=1.5', 'cursor=nonsense']) {
      const answer = await shop.client.send('GET', `/orders?${query}`, { token })
      expect([query, refusal(answer)]).toEqual([query, { status: 400, code: 'invalid-input' }])
    }
    for (const limit of [1, 100]) {
      expect((await shop.client.send('GET', `/orders?limit=${limit}`, { token })).status).toBe(200)
    }
    expect(refusal(await shop.client.send('GET', '/orders'))).toEqual({ status: 401, code: 'unauthenticated' })
  })
})

test('an order is there for its owner and for operators, and for nobody else', async () => {
  const [buyer, stranger, { sku }] = [await shop.newBuyer(), await shop.newBuyer(), await shop.newProduct(5)]
  const { id } = await shop.buy(buyer, [{ sku, quantity: 1 }])
  const { paymentId } = await shop.eventuallyOrder(id, { status: 'confirmed' })
  await shop.eventuallyPayment(paymentId ?? '', { status: 'captured' })
  const paths = [`/orders/${id}`, `/payments/${paymentId}`]
  for (const path of paths) {
    for (const token of [buyer.token, shop.operator])
      expect((await shop.client.send('GET', path, { token })).status).toBe(200)
  }
  const codes = ['order-not-found', 'payment-not-found']
  for (const [index, path] of paths.entries()) {
    const answer = await shop.client.send('GET', path, { token: stranger.token })
    expect(refusal(answer)).toEqual({ status: 404, code: codes[index] ?? '' })
    const nowhere = path.replace(/[^/]+$/, Bun.randomUUIDv7())
    const absent = await shop.client.send('GET', nowhere, { token: stranger.token })
    expect(answer.body).toEqual(absent.body)
  }
  const cancelling = await shop.cancel(id, stranger.token)
  expect(refusal(cancelling)).toEqual({ status: 404, code: 'order-not-found' })
  const refunding = await shop.refund(paymentId ?? '', buyer.token)
  expect(refusal(refunding)).toEqual({ status: 403, code: 'forbidden' })
  await shop.quiet(id)
  expect((await shop.eventuallyOrder(id, {})).status).toBe('confirmed')
})
