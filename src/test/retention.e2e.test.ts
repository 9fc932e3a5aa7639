import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { checkoutSnapshot } from '#modules/orders'
import { type Pruning, prune, prunings } from '#platform/retention'
import { startTestApp } from './app.ts'
import { openShop } from './shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)

afterAll(async () => {
  await app.stop()
  await shop.close()
})

const dayMs = 24 * 3_600_000
const sagas = prunings({ inboxMs: 8 * dayMs, answersMs: 2 * dayMs, endedMs: 30 * dayMs }).filter(
  ({ name }) => name === 'sagas',
) as [Pruning]

test('a checkout that ended is found until it is too old, and then neither in the tables nor in Redis; its order stays', async () => {
  const { orders } = app.app.hosted
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  const answer = await shop.post('/checkouts', buyer, [{ sku, quantity: 2 }], 'tok_visa')
  const { id } = checkoutSnapshot.omit({ version: true }).parse(answer.body)
  const { orderId } = await shop.eventuallyCheckout(id, { status: 'completed' })
  const find = async (path: string) => (await shop.client.send('GET', path, { token: buyer.token })).status
  const pruneIn = (days: number) =>
    prune(sagas[0], {
      postgres: app.app.databases.orders,
      now: Date.now() + days * dayMs,
      limit: 100,
      forget: ({ tx }, ids) => orders.snapshots.forget(tx, ids),
    })
  await pruneIn(29)
  expect(await find(`/checkouts/${id}`)).toBe(200)
  expect(await pruneIn(31)).toBeGreaterThan(0)
  expect(await find(`/checkouts/${id}`)).toBe(404)
  expect(await find(`/orders/${orderId}`)).toBe(200)
  expect((await orders.snapshots.differences()).filter((difference) => difference.includes(id))).toEqual([])
})
