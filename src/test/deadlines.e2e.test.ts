import { afterAll, afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { testEnvironment } from './app.ts'
import { eventually } from './eventually.ts'
import { openGate } from './gate.ts'
import { startProcess } from './process.ts'
import { openShop, patienceMs } from './shop.ts'

setDefaultTimeout(180_000)

const services = await testEnvironment()
const toProvider = await openGate(services['PAYMENT_PROVIDER_URL'] ?? '')
const environment = { ...services, PAYMENT_PROVIDER_URL: toProvider.url, FLOW_DEADLINE_MS: '2000' }
let process = await startProcess(environment)
const openOwnShop = () => openShop(process.url, services)
let shop = await openOwnShop()

afterEach(() => toProvider.open())

afterAll(async () => {
  process.child.kill('SIGTERM')
  await process.child.exited
  await shop.close()
  await toProvider.close()
})

/** How the provider can be away: what it is asked never arrives, or what it answers does not. */
const ways = {
  'does not hear': () => toProvider.watch(() => false),
  'charges and is not heard': () => toProvider.watch(({ from }) => from === 'client'),
}

const expectReported = (orderId: string) =>
  eventually(
    () =>
      expect(process.logged()).toContainEqual(
        expect.objectContaining({ msg: 'an order was not paid for in time; it is cancelled', orderId }),
      ),
    patienceMs,
  )

/** Expects that, once the provider is back, what it took and what it takes late is given back, once. */
const expectMoneyBack = async (orderId: string, amount: number) => {
  await eventually(async () => expect(await shop.paymentOf(orderId)).toMatchObject({ status: 'refunded' }), patienceMs)
  await shop.quiet(orderId)
  expect(await shop.ledgerOf(amount)).toEqual(['capture', 'refund'])
}

const expectCharged = (amount: number) =>
  eventually(async () => expect(await shop.ledgerOf(amount)).toEqual(['capture']), patienceMs)

for (const [way, begin] of Object.entries(ways)) {
  describe(`while the provider ${way}`, () => {
    test('an order is cancelled when its deadline passes, which is reported, and no money stays taken', async () => {
      const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
      begin()
      const { id } = await shop.buy(buyer, [{ sku, quantity: 2 }])
      await shop.eventuallyOrder(id, { status: 'cancelled', reason: 'timed-out', paymentId: null, version: 2 })
      await expectReported(id)
      await shop.eventuallyStock(sku, 5)
      await eventually(async () => expect(await shop.paymentOf(id)).toMatchObject({ status: 'pending' }), patienceMs)
      if (way !== 'does not hear') await expectCharged(2 * price.amount)
      toProvider.open()
      await expectMoneyBack(id, 2 * price.amount)
      expect(await shop.eventuallyOrder(id, {})).toMatchObject({ status: 'cancelled', reason: 'timed-out', version: 2 })
      await shop.eventuallyStock(sku, 5)
      await shop.expectBalanced(sku)
    })

    test('a checkout gives the charge up, rolls back once it knows what became of it, and keeps the error', async () => {
      const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
      begin()
      const { id, orderId } = await shop.checkOut(buyer, [{ sku, quantity: 2 }])
      const stopped = await shop.eventuallyCheckout(id, { status: 'compensating' })
      const statuses = stopped.steps.map(({ status }) => status)
      expect(statuses).toEqual(['done', 'done', 'failed', 'pending'])
      expect(stopped.error).toMatchObject({ code: 'timeout' })
      if (way !== 'does not hear') await expectCharged(2 * price.amount)
      toProvider.open()
      const ended = await shop.eventuallyCheckout(id, { status: 'compensated' })
      expect(ended.error).toEqual(stopped.error)
      expect(ended.steps.map(({ status }) => status)).toEqual(['compensated', 'compensated', 'compensated', 'pending'])
      await shop.eventuallyOrder(orderId ?? '', { status: 'cancelled', reason: 'checkout-failed' })
      await expectMoneyBack(orderId ?? '', 2 * price.amount)
      await shop.eventuallyStock(sku, 5)
      await shop.expectBalanced(sku)
    })
  })
}

test('an order that its buyer cancels while its checkout waits to be rolled back gives stock and money back once', async () => {
  const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
  ways['charges and is not heard']()
  const { id, orderId } = await shop.checkOut(buyer, [{ sku, quantity: 2 }])
  await shop.eventuallyCheckout(id, { status: 'compensating' })
  await expectCharged(2 * price.amount)
  expect((await shop.cancel(orderId ?? '', buyer.token)).status).toBe(202)
  await shop.eventuallyStock(sku, 5)
  toProvider.open()
  const ended = await shop.eventuallyCheckout(id, { status: 'compensated' })
  expect(ended.error).toMatchObject({ code: 'timeout' })
  await shop.eventuallyOrder(orderId ?? '', { status: 'cancelled', reason: 'requested', version: 2 })
  await expectMoneyBack(orderId ?? '', 2 * price.amount)
  await shop.eventuallyStock(sku, 5)
  await shop.expectBalanced(sku)
})

test('a deadline outlives the process that set it', async () => {
  const [buyer, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
  toProvider.watch(() => false)
  const { id } = await shop.buy(buyer, [{ sku, quantity: 2 }])
  process.child.kill('SIGKILL')
  await process.child.exited
  await shop.close()
  process = await startProcess(environment)
  shop = await openOwnShop()
  await shop.eventuallyOrder(id, { status: 'cancelled', reason: 'timed-out', version: 2 })
  await expectReported(id)
  toProvider.open()
  await expectMoneyBack(id, 2 * price.amount)
  await shop.eventuallyStock(sku, 5)
  await shop.expectBalanced(sku)
})
