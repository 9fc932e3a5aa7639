import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { orderSnapshot } from '#modules/orders'
import { openPostgres } from '#platform/postgres'
import { startTestApp } from './app.ts'
import { type Account, consistency, refusal } from './client.ts'
import { eventually } from './eventually.ts'
import { openTestRedis } from './redis.ts'
import { type Buyer, openShop, patienceMs } from './shop.ts'
import { readTopic } from './topic.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const redis = openTestRedis(app.environment)
const owner = openPostgres({ url: app.environment['DATABASE_URL'] ?? '', name: 'test', poolSize: 2 })
const events = await readTopic(app.environment, 'order-events')

afterAll(async () => {
  await events.stop()
  redis.disconnect()
  await app.stop()
  await Promise.all([owner.close(), shop.close()])
})

const alreadyCancelled = { status: 409, code: 'already-cancelled' }
const notRefundable = { status: 409, code: 'not-refundable' }

/** Expects that the order's money was taken once and given back once. */
const expectMoneyBack = async (orderId: string, amount: number) => {
  await eventually(async () => expect(await shop.paymentOf(orderId)).toMatchObject({ status: 'refunded' }), patienceMs)
  await shop.quiet(orderId)
  expect(await shop.ledgerOf(amount)).toEqual(['capture', 'refund'])
}

const confirmed = async (buyer: Buyer, sku: string, quantity: number) => {
  const { id } = await shop.buy(buyer, [{ sku, quantity }])
  const { paymentId } = await shop.eventuallyOrder(id, { status: 'confirmed' })
  return { id, paymentId: paymentId ?? '' }
}

describe('a cancellation', () => {
  test('of a confirmed order gives the money back once, and the stock', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id, paymentId } = await confirmed(buyer, sku, 2)
    const answer = await shop.cancel(id, buyer.token)
    expect(answer.status).toBe(202)
    expect(orderSnapshot.parse(answer.body)).toMatchObject({ id, status: 'cancelled', reason: 'requested', version: 3 })
    const headers = consistency(answer)
    const read = await shop.client.send('GET', `/orders/${id}`, { token: buyer.token, headers })
    expect(read.body).toMatchObject({ status: 'cancelled', reason: 'requested', paymentId, version: 3 })
    await shop.eventuallyPayment(paymentId, { status: 'refunded' })
    await expectMoneyBack(id, 2 * price.amount)
    await shop.eventuallyStock(sku, 5)
    await shop.expectBalanced(sku)
  })

  test('happens once, whoever asks, however many at the same moment', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id } = await confirmed(buyer, sku, 2)
    const tokens = [buyer.token, shop.operator, buyer.token, shop.operator, buyer.token]
    const answers = await Promise.all(tokens.map((token) => shop.cancel(id, token)))
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(1)
    const refused = answers.filter(({ status }) => status !== 202)
    expect(refused.map(refusal)).toEqual(refused.map(() => alreadyCancelled))
    expect(refusal(await shop.cancel(id, buyer.token))).toEqual(alreadyCancelled)
    await expectMoneyBack(id, 2 * price.amount)
    await shop.eventuallyStock(sku, 5)
    await shop.expectBalanced(sku)
  })

  test('by an operator is possible too, and of what is not there is not', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id } = await confirmed(buyer, sku, 1)
    expect((await shop.cancel(id, shop.operator)).status).toBe(202)
    await expectMoneyBack(id, price.amount)
    const absent = { status: 404, code: 'order-not-found' }
    for (const token of [buyer.token, shop.operator])
      expect(refusal(await shop.cancel(Bun.randomUUIDv7(), token))).toEqual(absent)
  })

  test('right after the order was placed crosses its capture, and the money comes back once', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(100)]
    const quantities = [1, 2, 3, 4, 5, 6, 7, 8]
    const placed = await Promise.all(
      quantities.map(async (quantity) => {
        const { id } = await shop.buy(buyer, [{ sku, quantity }])
        expect((await shop.cancel(id, buyer.token)).status).toBe(202)
        return { id, amount: quantity * price.amount }
      }),
    )
    for (const { id, amount } of placed) {
      await shop.eventuallyOrder(id, { status: 'cancelled', reason: 'requested' })
      await expectMoneyBack(id, amount)
    }
    await shop.eventuallyStock(sku, 100)
    await shop.expectBalanced(sku)
  })

  test('while the provider is charging gives the money back once, as soon as it is taken', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id } = await shop.buy(buyer, [{ sku, quantity: 2 }], 'tok_slow')
    await eventually(async () => expect(await shop.ledgerOf(2 * price.amount)).toEqual(['capture']), patienceMs)
    expect((await shop.cancel(id, buyer.token)).status).toBe(202)
    await eventually(async () => expect(await shop.paymentOf(id)).toMatchObject({ status: 'refunded' }), patienceMs)
    await shop.eventuallyOrder(id, { status: 'cancelled', reason: 'requested' })
    await expectMoneyBack(id, 2 * price.amount)
    await shop.eventuallyStock(sku, 5)
    await shop.expectBalanced(sku)
  })

  test('is answered again, without a second effect, when its Idempotency-Key is', async () => {
    const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id } = await confirmed(buyer, sku, 1)
    const headers = { 'idempotency-key': Bun.randomUUIDv7() }
    const send = () => shop.client.send('POST', `/orders/${id}/cancellation`, { token: buyer.token, headers })
    const answers = [await send(), await send()]
    expect(answers.map(({ status, body }) => ({ status, body }))).toEqual(
      answers.map(() => ({ status: 202, body: answers[0]?.body })),
    )
    await shop.eventuallyStock(sku, 5)
  })
})

test('an order that was cancelled while its start was parked gets its money back when that is redriven', async () => {
  const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
  await owner.script(`
    create function payments.refuse_payment() returns trigger language plpgsql as $$ begin raise 'planted'; end $$;
    create trigger refuse_payment before insert on payments.payments for each row
      when (new.amount = ${2 * price.amount}) execute function payments.refuse_payment()`)
  const { id } = await shop.buy(buyer, [{ sku, quantity: 2 }])
  const parked = await eventually(async () => {
    const [row] = await shop.payments.run('select id from dead_letters where key = $1', [id])
    return String(row?.['id'] ?? expect.unreachable('The start of the order is not parked.'))
  }, patienceMs)
  await owner.script('drop trigger refuse_payment on payments.payments; drop function payments.refuse_payment()')
  expect((await shop.cancel(id, buyer.token)).status).toBe(202)
  await eventually(async () => {
    const queued = `select 1 from dead_letters where key = $1 and status = 'queued'`
    expect(await shop.payments.run(queued, [id])).toHaveLength(1)
  }, patienceMs)
  const redrive = `/ops/dead-letters/${parked}/redrive`
  expect((await shop.client.send('POST', redrive, { token: shop.operator })).status).toBe(202)
  await expectMoneyBack(id, 2 * price.amount)
  await shop.eventuallyStock(sku, 5)
  await shop.expectBalanced(sku)
})

describe('a refund by an operator', () => {
  test('gives the money back once and cancels the order, whose stock comes back', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id, paymentId } = await confirmed(buyer, sku, 2)
    const answers = await Promise.all([1, 2, 3].map(() => shop.refund(paymentId)))
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(1)
    const refused = answers.filter(({ status }) => status !== 202)
    expect(refused.map(refusal)).toEqual(refused.map(() => notRefundable))
    await shop.eventuallyOrder(id, { status: 'cancelled', reason: 'refunded', paymentId })
    await shop.eventuallyPayment(paymentId, { status: 'refunded' })
    await expectMoneyBack(id, 2 * price.amount)
    await shop.eventuallyStock(sku, 5)
    await shop.expectBalanced(sku)
    expect(refusal(await shop.refund(paymentId))).toEqual(notRefundable)
    expect(refusal(await shop.cancel(id, buyer.token))).toEqual(alreadyCancelled)
  })

  test('that crosses a cancellation gives the money back once', async () => {
    const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id, paymentId } = await confirmed(buyer, sku, 2)
    const [refunding, cancelling] = await Promise.all([shop.refund(paymentId), shop.cancel(id, buyer.token)])
    expect(cancelling.status).toBe(202)
    expect([202, 409]).toContain(refunding.status)
    await shop.eventuallyOrder(id, { status: 'cancelled' })
    await expectMoneyBack(id, 2 * price.amount)
    await shop.eventuallyStock(sku, 5)
    await shop.expectBalanced(sku)
  })

  test('of what was declined, or is not there, is refused', async () => {
    const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const { id } = await shop.buy(buyer, [{ sku, quantity: 1 }], 'tok_declined')
    await shop.eventuallyOrder(id, { status: 'cancelled' })
    expect(refusal(await shop.refund((await shop.paymentOf(id))?.id ?? ''))).toEqual(notRefundable)
    expect(refusal(await shop.refund(Bun.randomUUIDv7()))).toEqual({ status: 404, code: 'payment-not-found' })
  })
})

describe('closing an account', () => {
  const close = async ({ id, token }: Account) => {
    expect((await shop.client.send('DELETE', `/users/${id}`, { token })).status).toBe(202)
  }

  test('cancels what is pending and what was confirmed within a day, and gives that money back', async () => {
    const [account, { sku, price }] = [await shop.client.signUp(), await shop.newProduct(100)]
    const [old, recent] = [await confirmed(account, sku, 1), await confirmed(account, sku, 2)]
    const declined = await shop.buy(account, [{ sku, quantity: 3 }], 'tok_declined')
    await shop.eventuallyOrder(declined.id, { status: 'cancelled' })
    const moved = `update orders set confirmed_at = confirmed_at - $2::interval where id = $1`
    await shop.orders.run(moved, [old.id, '24 hours'])
    await shop.orders.run(moved, [recent.id, '23 hours'])
    const pending = await shop.buy(account, [{ sku, quantity: 4 }], 'tok_slow')
    await close(account)

    await shop.eventuallyOrder(pending.id, { status: 'cancelled', reason: 'user-closed' })
    await shop.eventuallyOrder(recent.id, { status: 'cancelled', reason: 'user-closed', paymentId: recent.paymentId })
    await shop.eventuallyPayment(recent.paymentId, { status: 'refunded' })
    await expectMoneyBack(recent.id, 2 * price.amount)
    await expectMoneyBack(pending.id, 4 * price.amount)
    await shop.quiet(old.id)
    expect(await shop.eventuallyOrder(old.id, {})).toMatchObject({ status: 'confirmed', version: 2 })
    expect(await shop.ledgerOf(price.amount)).toEqual(['capture'])
    expect(await shop.eventuallyOrder(declined.id, {})).toMatchObject({ reason: 'declined', version: 2 })
    await shop.eventuallyStock(sku, 99)
    await shop.expectBalanced(sku)
  })

  test('ends its buying: orders refuses it by its own copy of the users, and lets in whom it has never heard of', async () => {
    const [account, unknown, { sku }] = [await shop.client.signUp(), await shop.newBuyer(), await shop.newProduct(5)]
    await close(account)
    await eventually(async () => {
      const [known] = await shop.orders.run('select status from known_users where id = $1', [account.id])
      expect(known?.['status']).toBe('closed')
    }, patienceMs)
    const lines = [{ sku, quantity: 1 }]
    await eventually(async () => {
      const answer = await shop.post('/orders', account, lines, 'tok_visa')
      expect(refusal(answer)).toEqual({ status: 401, code: 'unauthenticated' })
    }, patienceMs)
    // As if the users' own word came later: then it is for orders to refuse.
    const key = `users:user:${account.id}`
    const snapshot = (await redis.getdel(key)) ?? ''
    try {
      for (const path of ['/orders', '/checkouts'] as const) {
        const answer = await shop.post(path, account, lines, 'tok_visa')
        expect(refusal(answer)).toEqual({ status: 409, code: 'account-closed' })
      }
    } finally {
      await redis.set(key, snapshot)
    }
    const { id } = await shop.buy(unknown, lines)
    await shop.eventuallyOrder(id, { status: 'confirmed' })
    await shop.eventuallyStock(sku, 4)
  })

  test('while it buys leaves no order open, and no money taken', async () => {
    const [account, { sku, price }] = [await shop.client.signUp(), await shop.newProduct(1_000)]
    const lines = [{ sku, quantity: 1 }]
    const first = await shop.buy(account, lines)
    const answers = await Promise.all([
      ...Array.from({ length: 10 }, () => shop.post('/orders', account, lines, 'tok_visa')),
      close(account),
      ...Array.from({ length: 10 }, () => shop.post('/orders', account, lines, 'tok_visa')),
    ])
    const won = answers.flatMap((answer) => (answer?.status === 202 ? [orderSnapshot.parse(answer.body).id] : []))
    const placed = [first.id, ...won]
    for (const id of placed) {
      await shop.eventuallyOrder(id, { status: 'cancelled', reason: 'user-closed' })
      await eventually(async () => expect(await shop.paymentOf(id)).toMatchObject({ status: 'refunded' }), patienceMs)
      await shop.quiet(id)
    }
    const entries = await shop.ledgerOf(price.amount)
    for (const kind of ['capture', 'refund'])
      expect(entries.filter((entry) => entry === kind)).toHaveLength(placed.length)
    await shop.eventuallyStock(sku, 1_000)
    await shop.expectBalanced(sku)
  })
})
