import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { z } from 'zod'
import { startTestApp } from '../test/app.ts'
import { refusal } from '../test/client.ts'
import { eventually } from '../test/eventually.ts'
import { openShop } from '../test/shop.ts'
import { stuckCheckout } from '../test/stuck-checkout.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { client, operator } = shop
const operatorId = decodeJwt(operator).sub

afterAll(async () => {
  await app.stop()
  await shop.close()
})

const list = z.object({ items: z.array(z.looseObject({ id: z.uuid() })) })

const listed = async (id: string) => {
  const { status, body } = await client.send('GET', '/ops/sagas', { token: operator })
  expect(status).toBe(200)
  return list.parse(body).items.find((item) => item.id === id)
}

const operate = (id: string, verb: string) => client.send('POST', `/ops/sagas/${id}/${verb}`, { token: operator })

/** What operators asked of the saga, as its history keeps it. */
const askedOf = async (id: string): Promise<unknown[]> => {
  const rows = await shop.orders.run(
    `select input from saga_history, json_array_elements(heard) as input where saga_id = $1 and input->>'by' is not null
      order by version`,
    [id],
  )
  return rows.map(({ input }) => JSON.parse(String(input)))
}

/** Expects that nothing is left of the checkout: it had its money back once, and its piece is in stock again. */
const expectUndone = async ({ id, orderId, paymentId, sku }: Awaited<ReturnType<typeof stuckCheckout>>) => {
  const checkout = await shop.eventuallyCheckout(id, { status: 'compensated' })
  await shop.eventuallyPayment(paymentId ?? '', { status: 'refunded' })
  const order = await shop.eventuallyOrder(orderId ?? '', { status: 'cancelled' })
  await shop.eventuallyStock(sku, 5)
  await shop.expectBalanced(sku)
  await shop.quiet(orderId ?? '')
  expect(await shop.ledgerOf(order.total.amount)).toEqual(['capture', 'refund'])
  expect(await listed(id)).toBeUndefined()
  return checkout
}

describe('a checkout that waits for an operator', () => {
  test('is listed with where it is stuck and why, and its owner sees that it waits', async () => {
    const { id, token } = await stuckCheckout(shop, 'needs-operator')
    const item = await listed(id)
    expect(item).toMatchObject({
      module: 'orders',
      name: 'checkout',
      status: 'needs-operator',
      error: { code: 'order-not-pending' },
      stuckAt: 'charge-payment',
      correlationId: expect.any(String),
      createdAt: expect.any(String),
      updatedAt: expect.any(String),
    })
    expect(item?.['steps']).toMatchObject([
      { name: 'reserve-stock', status: 'done', error: null },
      { name: 'create-order', status: 'done', error: null },
      { name: 'charge-payment', status: 'done', error: { code: 'timeout' }, tries: 11 },
      { name: 'confirm-order', status: 'failed', error: { code: 'order-not-pending' } },
    ])
    await app.app.hosted.orders.snapshots.rebuild()
    expect((await client.send('GET', `/checkouts/${id}`, { token })).body).toMatchObject({
      status: 'needs-operator',
      error: { code: 'order-not-pending' },
    })
    expect((await operate(id, 'skip')).status).toBe(202)
  })

  test('is compensated once its compensation is tried again and succeeds, and who asked is kept', async () => {
    const stuck = await stuckCheckout(shop, 'needs-operator')
    const answer = await operate(stuck.id, 'retry')
    expect([answer.status, answer.body]).toEqual([202, expect.objectContaining({ status: 'compensating' })])
    expect(await listed(stuck.id)).toBeUndefined()
    const { error, steps } = await expectUndone(stuck)
    expect(error).toMatchObject({ code: 'order-not-pending' })
    expect(steps.map(({ status }) => status)).toEqual(['compensated', 'compensated', 'compensated', 'failed'])
    expect(await askedOf(stuck.id)).toEqual([{ type: 'retry', by: operatorId }])
  })

  test('goes on behind the step that an operator says is undone, and who said so is kept', async () => {
    const stuck = await stuckCheckout(shop, 'needs-operator')
    const answer = await operate(stuck.id, 'skip')
    expect([answer.status, answer.body]).toEqual([202, expect.objectContaining({ status: 'compensated' })])
    await expectUndone(stuck)
    expect(await askedOf(stuck.id)).toEqual([{ type: 'skip', by: operatorId }])
  })

  test('is not to be compensated: it is, but for what is stuck', async () => {
    const { id } = await stuckCheckout(shop, 'needs-operator')
    expect(refusal(await operate(id, 'compensate'))).toEqual({ status: 409, code: 'not-possible' })
    expect(await listed(id)).toMatchObject({ status: 'needs-operator' })
    expect(await askedOf(id)).toEqual([])
    expect((await operate(id, 'skip')).status).toBe(202)
  })
})

describe('a checkout that is running', () => {
  test('is not listed, and rolls back when an operator asks for it, who is kept', async () => {
    const stuck = await stuckCheckout(shop, 'running')
    expect(await listed(stuck.id)).toBeUndefined()
    const answer = await operate(stuck.id, 'compensate')
    expect(answer.status).toBe(202)
    expect(answer.body).toMatchObject({ status: 'compensating', error: { code: 'stopped-by-operator' }, stuckAt: null })
    const { error } = await expectUndone(stuck)
    expect(error).toMatchObject({ code: 'stopped-by-operator' })
    expect(await askedOf(stuck.id)).toEqual([{ type: 'compensate', by: operatorId }])
  })

  test('has nothing to try again or to skip', async () => {
    const { id } = await stuckCheckout(shop, 'running')
    for (const verb of ['retry', 'skip'])
      expect(refusal(await operate(id, verb))).toEqual({ status: 409, code: 'not-possible' })
    expect((await operate(id, 'compensate')).status).toBe(202)
  })
})

test('a checkout that has ended is left alone', async () => {
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  const lines = [{ sku, quantity: 1 }]
  const [paid, declined] = [await shop.checkOut(buyer, lines), await shop.checkOut(buyer, lines, 'tok_declined')]
  await shop.eventuallyCheckout(paid.id, { status: 'completed' })
  await shop.eventuallyCheckout(declined.id, { status: 'compensated' })
  for (const { id } of [paid, declined]) {
    for (const verb of ['retry', 'skip', 'compensate'])
      expect(refusal(await operate(id, verb))).toEqual({ status: 409, code: 'not-possible' })
    expect(await askedOf(id)).toEqual([])
  }
  await shop.eventuallyStock(sku, 4)
})

test('of two operators who ask for the same at the same moment each is answered, and there is one effect', async () => {
  const stuck = await stuckCheckout(shop, 'needs-operator')
  const answers = await Promise.all([operate(stuck.id, 'skip'), operate(stuck.id, 'skip')])
  expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 409])
  await expectUndone(stuck)
})

test('what waits is listed by the oldest first', async () => {
  const stuck = [await stuckCheckout(shop, 'needs-operator'), await stuckCheckout(shop, 'needs-operator')]
  const { body } = await client.send('GET', '/ops/sagas', { token: operator })
  const ids = stuck.map(({ id }) => id)
  const seen = list.parse(body).items.map(({ id }) => id)
  expect(seen.filter((id) => ids.includes(id))).toEqual(ids)
  for (const { id } of stuck) expect((await operate(id, 'retry')).status).toBe(202)
  await eventually(async () => expect((await listed(ids[0] ?? '')) ?? (await listed(ids[1] ?? ''))).toBeUndefined())
})
