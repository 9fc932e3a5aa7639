import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { checkoutSnapshot } from '#modules/orders'
import { startTestApp } from './app.ts'
import { consistency, refusal } from './client.ts'
import { eventually } from './eventually.ts'
import { type Checkout, openShop, patienceMs } from './shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)

afterAll(async () => {
  await app.stop()
  await shop.close()
})

const names = ['reserve-stock', 'create-order', 'charge-payment', 'confirm-order'] as const

const statusesOf = ({ steps }: Checkout) => steps.map(({ status }) => status)

const orderIdOf = ({ orderId }: Checkout): string => {
  if (orderId === null) throw new Error('The checkout has no order.')
  return orderId
}

const expectMoneyBack = async (orderId: string, amount: number) => {
  await eventually(async () => expect(await shop.paymentOf(orderId)).toMatchObject({ status: 'refunded' }), patienceMs)
  await shop.quiet(orderId)
  expect(await shop.ledgerOf(amount)).toEqual(['capture', 'refund'])
}

describe('a checkout', () => {
  test('is answered on its way, takes its four steps in their order, and is completed', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const answer = await shop.post('/checkouts', buyer, [{ sku, quantity: 2 }], 'tok_visa')
    expect(answer.status).toBe(202)
    const begun = checkoutSnapshot.omit({ version: true }).strict().parse(answer.body)
    expect(begun).toMatchObject({ userId: buyer.id, status: 'running', paymentId: null, error: null })
    expect(begun.steps.map(({ name }) => name)).toEqual([...names])
    expect(statusesOf(begun)).toEqual(['done', 'done', 'running', 'pending'])
    expect(begun.steps[3]).toEqual({ name: 'confirm-order', status: 'pending', at: null, error: null })
    expect(answer.headers.get('location')).toBe(`/checkouts/${begun.id}`)
    const read = await shop.client.send('GET', `/checkouts/${begun.id}`, {
      token: buyer.token,
      headers: consistency(answer),
    })
    expect(read.body).toMatchObject({ id: begun.id, userId: buyer.id, orderId: begun.orderId })

    const ended = await shop.eventuallyCheckout(begun.id, { status: 'completed' })
    expect(statusesOf(ended)).toEqual(['done', 'done', 'done', 'done'])
    expect(ended.error).toBeNull()
    expect(ended.orderId).toBe(begun.orderId)
    const times = ended.steps.map(({ at }) => at ?? '')
    expect(times).toEqual(times.toSorted())
    expect(ended.steps.map(({ error }) => error)).toEqual([null, null, null, null])
    const orderId = orderIdOf(ended)
    const total = { ...price, amount: 2 * price.amount }
    const order = await shop.eventuallyOrder(orderId, { status: 'confirmed', version: 2 })
    expect(order).toMatchObject({ userId: buyer.id, paymentId: ended.paymentId, total })
    await shop.eventuallyPayment(ended.paymentId ?? '', { status: 'captured', orderId, amount: total })
    await shop.quiet(orderId)
    expect(await shop.ledgerOf(total.amount)).toEqual(['capture'])
    await shop.eventuallyStock(sku, 3)
    await shop.expectBalanced(sku)
  })

  for (const paymentToken of ['tok_flaky', 'tok_lost', 'tok_slow']) {
    test(`paid with ${paymentToken} is completed, with exactly one charge at the provider`, async () => {
      const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
      const { id, orderId } = await shop.checkOut(buyer, [{ sku, quantity: 1 }], paymentToken)
      await shop.eventuallyCheckout(id, { status: 'completed' })
      await shop.quiet(orderId ?? '')
      expect(await shop.ledgerOf(price.amount)).toEqual(['capture'])
    })
  }

  test('whose payment is declined is rolled back in reverse order, and keeps the error', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id, orderId } = await shop.checkOut(buyer, [{ sku, quantity: 2 }], 'tok_declined')
    const ended = await shop.eventuallyCheckout(id, { status: 'compensated' })
    expect(ended.error).toMatchObject({ code: 'payment-declined' })
    expect(ended).toMatchObject({ orderId, paymentId: null })
    expect(statusesOf(ended)).toEqual(['compensated', 'compensated', 'failed', 'pending'])
    expect(ended.steps[2]?.error).toMatchObject({ code: 'payment-declined' })
    const undone = [ended.steps[1]?.at ?? '', ended.steps[0]?.at ?? '']
    expect(undone).toEqual(undone.toSorted())
    await shop.eventuallyOrder(orderId ?? '', { status: 'cancelled', reason: 'checkout-failed', paymentId: null })
    await shop.quiet(orderId ?? '')
    expect(await shop.ledgerOf(2 * price.amount)).toEqual([])
    await shop.eventuallyStock(sku, 5)
    await shop.expectBalanced(sku)
  })

  test('of more than there is ends compensated with that error, and leaves neither an order nor a payment', async () => {
    const [buyer, plenty, { sku }] = [await shop.newBuyer(), await shop.newProduct(50), await shop.newProduct(2)]
    const lines = [
      { sku: plenty.sku, quantity: 3 },
      { sku, quantity: 3 },
    ]
    const { id } = await shop.checkOut(buyer, lines)
    const ended = await shop.eventuallyCheckout(id, { status: 'compensated' })
    expect(ended).toMatchObject({ orderId: null, paymentId: null, error: { code: 'out-of-stock' } })
    expect(statusesOf(ended)).toEqual(['failed', 'pending', 'pending', 'pending'])
    expect(ended.steps[0]?.error).toMatchObject({ code: 'out-of-stock' })
    expect(await shop.orders.run('select 1 from orders where user_id = $1', [buyer.id])).toEqual([])
    expect(await shop.payments.run('select 1 from payments where user_id = $1', [buyer.id])).toEqual([])
    await shop.eventuallyStock(plenty.sku, 50)
    await shop.eventuallyStock(sku, 2)
  })

  test('is refused for what nobody can buy, and to operators and strangers', async () => {
    const [buyer, euros, dollars] = [await shop.newBuyer(), await shop.newProduct(5), await shop.newProduct(5, 'USD')]
    const lines = (...skus: string[]) => skus.map((sku) => ({ sku, quantity: 1 }))
    const attempt = async (wanted: { sku: string; quantity: number }[], token = buyer.token) =>
      refusal(await shop.post('/checkouts', { id: '', token }, wanted, 'tok_visa'))
    expect(await attempt(lines(euros.sku, 'nothing'))).toEqual({ status: 422, code: 'unknown-sku' })
    expect(await attempt(lines(euros.sku, dollars.sku))).toEqual({ status: 422, code: 'mixed-currencies' })
    expect(await attempt([])).toEqual({ status: 400, code: 'invalid-input' })
    expect(await attempt(lines(euros.sku), shop.operator)).toEqual({ status: 403, code: 'forbidden' })
    const body = { lines: lines(euros.sku), paymentToken: 'tok_visa' }
    const unsigned = await shop.client.send('POST', '/checkouts', { body })
    expect(refusal(unsigned)).toEqual({ status: 401, code: 'unauthenticated' })
    await shop.eventuallyStock(euros.sku, 5)
  })

  test('is there for its owner and for operators, and for nobody else', async () => {
    const [buyer, stranger, { sku }] = [await shop.newBuyer(), await shop.newBuyer(), await shop.newProduct(5)]
    const { id } = await shop.checkOut(buyer, [{ sku, quantity: 1 }])
    await shop.eventuallyCheckout(id, { status: 'completed' })
    const get = (id: string, token: string) => shop.client.send('GET', `/checkouts/${id}`, { token })
    expect((await get(id, buyer.token)).status).toBe(200)
    const foreign = await get(id, stranger.token)
    expect(refusal(foreign)).toEqual({ status: 404, code: 'checkout-not-found' })
    expect(foreign.body).toEqual((await get(Bun.randomUUIDv7(), stranger.token)).body)
  })

  test('sent twenty times at the same moment under one Idempotency-Key is one checkout', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(30)]
    const headers = { 'idempotency-key': Bun.randomUUIDv7() }
    const body = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }
    const send = () => shop.client.send('POST', '/checkouts', { token: buyer.token, headers, body })
    const answers = await Promise.all(Array.from({ length: 20 }, send))
    answers.push(await send())
    const seen = answers.map(({ status, headers, body }) => ({ status, location: headers.get('location'), body }))
    expect(seen).toEqual(seen.map(() => ({ status: 202, location: seen[0]?.location ?? '', body: seen[0]?.body })))
    const { id } = checkoutSnapshot.omit({ version: true }).parse(answers[0]?.body)
    await shop.eventuallyCheckout(id, { status: 'completed' })
    await shop.eventuallyStock(sku, 29)
    expect(await shop.ledgerOf(price.amount)).toEqual(['capture'])
  })
})

test('fifty checkouts and fifty orders that race for the last ten take exactly ten, and all of them end', async () => {
  const { sku } = await shop.newProduct(10)
  const buyers = await Promise.all(Array.from({ length: 100 }, shop.newBuyer))
  const lines = [{ sku, quantity: 1 }]
  const checkouts: string[] = []
  const orders: string[] = []
  await Promise.all(
    buyers.map(async (buyer, index) => {
      if (index % 2 === 0) return checkouts.push((await shop.checkOut(buyer, lines)).id)
      const { status, headers } = await shop.post('/orders', buyer, lines, 'tok_visa')
      return status === 202 && orders.push(headers.get('location')?.replace('/orders/', '') ?? '')
    }),
  )
  let completed = 0
  for (const id of checkouts) {
    await eventually(async () => {
      const { status, error } = await shop.eventuallyCheckout(id, {})
      expect([status, error?.code]).toEqual(status === 'completed' ? [status] : ['compensated', 'out-of-stock'])
      if (status === 'completed') completed += 1
    }, patienceMs)
  }
  for (const id of orders) await shop.eventuallyOrder(id, { status: 'confirmed' })
  expect(completed + orders.length).toBe(10)
  await shop.eventuallyStock(sku, 0)
  await shop.expectBalanced(sku)
})

describe('a checkout that is still running', () => {
  const cases = [
    { by: 'its buyer', reason: 'requested' },
    { by: 'the closing of the account', reason: 'user-closed' },
  ] as const
  for (const { by, reason } of cases) {
    test(`whose order is cancelled by ${by} rolls everything back: money once, stock once`, async () => {
      const [account, { sku, price }] = [await shop.client.signUp(), await shop.newProduct(5)]
      const begun = await shop.checkOut(account, [{ sku, quantity: 2 }], 'tok_slow')
      const orderId = orderIdOf(begun)
      const { status } =
        reason === 'requested'
          ? await shop.cancel(orderId, account.token)
          : await shop.client.send('DELETE', `/users/${account.id}`, { token: account.token })
      expect(status).toBe(202)
      const ended = await shop.eventuallyCheckout(begun.id, { status: 'compensated' })
      expect(ended.error).toMatchObject({ code: 'order-cancelled' })
      expect(statusesOf(ended)).toEqual(['compensated', 'compensated', 'compensated', 'pending'])
      await shop.eventuallyOrder(orderId, { status: 'cancelled', reason, version: 2 })
      await expectMoneyBack(orderId, 2 * price.amount)
      await shop.eventuallyStock(sku, 5)
      await shop.expectBalanced(sku)
    })
  }

  test('and is cancelled right after it began, at whatever moment, ends with nothing taken', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(100)]
    const quantities = [1, 2, 3, 4, 5, 6, 7, 8]
    const begun = await Promise.all(
      quantities.map(async (quantity) => {
        const { id, orderId } = await shop.checkOut(buyer, [{ sku, quantity }])
        expect((await shop.cancel(orderId ?? '', buyer.token)).status).toBe(202)
        return { id, orderId: orderId ?? '', amount: quantity * price.amount }
      }),
    )
    for (const { id, orderId, amount } of begun) {
      await shop.eventuallyOrder(orderId, { status: 'cancelled', reason: 'requested' })
      // It may have been completed before the order was cancelled.
      await eventually(async () => {
        expect(['completed', 'compensated']).toContain((await shop.eventuallyCheckout(id, {})).status)
      }, patienceMs)
      await expectMoneyBack(orderId, amount)
    }
    await shop.eventuallyStock(sku, 100)
    await shop.expectBalanced(sku)
  })
})

describe('after a checkout is completed', () => {
  const completed = async (sku: string, quantity: number) => {
    const buyer = await shop.newBuyer()
    const { id } = await shop.checkOut(buyer, [{ sku, quantity }])
    const { orderId, paymentId } = await shop.eventuallyCheckout(id, { status: 'completed' })
    return { buyer, id, orderId: orderId ?? '', paymentId: paymentId ?? '' }
  }

  test('a refund by an operator cancels its order, and it stays completed', async () => {
    const { sku, price } = await shop.newProduct(5)
    const { id, orderId, paymentId } = await completed(sku, 2)
    await shop.eventuallyPayment(paymentId, { status: 'captured' })
    expect((await shop.refund(paymentId)).status).toBe(202)
    await shop.eventuallyOrder(orderId, { status: 'cancelled', reason: 'refunded', paymentId })
    await expectMoneyBack(orderId, 2 * price.amount)
    await shop.eventuallyStock(sku, 5)
    await shop.expectBalanced(sku)
    expect(await shop.eventuallyCheckout(id, {})).toMatchObject({ status: 'completed', error: null })
  })

  test('its order is cancelled like any other', async () => {
    const { sku, price } = await shop.newProduct(5)
    const { buyer, id, orderId } = await completed(sku, 2)
    expect((await shop.cancel(orderId, buyer.token)).status).toBe(202)
    await shop.eventuallyOrder(orderId, { status: 'cancelled', reason: 'requested' })
    await expectMoneyBack(orderId, 2 * price.amount)
    await shop.eventuallyStock(sku, 5)
    await shop.expectBalanced(sku)
    expect(await shop.eventuallyCheckout(id, {})).toMatchObject({ status: 'completed', error: null })
    expect(refusal(await shop.cancel(orderId, buyer.token))).toEqual({ status: 409, code: 'already-cancelled' })
  })
})
