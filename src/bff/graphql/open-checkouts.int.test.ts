import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { startTestApp } from '../../test/app.ts'
import { openCountedReader } from '../../test/counted-reader.ts'
import { eventually } from '../../test/eventually.ts'
import { patienceMs, openShop } from '../../test/shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { redis, reader, close } = await openCountedReader(app.environment)

afterAll(async () => {
  await close()
  await app.stop()
  await shop.close()
})

const { sku } = await shop.newProduct(1_000)
const lines = [{ sku, quantity: 1 }]

const answer = z.object({
  data: z.object({
    me: z.object({
      name: z.string(),
      orders: z.object({ nodes: z.array(z.object({ id: z.string(), status: z.string() })) }),
      openCheckouts: z.array(z.object({ id: z.string(), status: z.string() })),
    }),
  }),
})

const home = async (client: 'web' | 'mobile', token: string) => {
  const { body } = await reader.client.send('POST', '/graphql', { token, body: { documentId: `${client}/home` } })
  return answer.parse(body).data.me
}

test('a home screen has who one is, the last orders and the checkouts that have not ended, newest first', async () => {
  const ada = await shop.client.signUp('Ada')
  const eve = await shop.client.signUp('Eve')
  const bought = await shop.buy(ada, lines)
  const completed = await shop.checkOut(ada, lines)
  const failed = await shop.checkOut(ada, lines, 'tok_declined')
  await shop.eventuallyCheckout(completed.id, { status: 'completed' })
  await shop.eventuallyCheckout(failed.id, { status: 'compensated' })
  const [first, second] = [await shop.checkOut(ada, lines, 'tok_slow'), await shop.checkOut(ada, lines, 'tok_slow')]
  for (const client of ['web', 'mobile'] as const) {
    await eventually(async () => {
      const { name, orders, openCheckouts } = await home(client, ada.token)
      expect([name, openCheckouts.map(({ id }) => id)]).toEqual(['Ada', [second.id, first.id]])
      expect(orders.nodes.find(({ id }) => id === bought.id)).toMatchObject({ status: 'confirmed' })
    })
    expect((await home(client, eve.token)).openCheckouts).toEqual([])
  }
  await eventually(async () => expect((await home('mobile', ada.token)).openCheckouts).toEqual([]), patienceMs)
})

test('the open checkouts of a user are as the tables say, also after Redis was filled anew', async () => {
  const ada = await shop.client.signUp('Ada')
  const { id } = await shop.checkOut(ada, lines, 'tok_slow')
  await eventually(async () => expect((await home('mobile', ada.token)).openCheckouts).toHaveLength(1))
  await app.app.hosted.orders.snapshots.rebuild()
  await shop.eventuallyCheckout(id, { status: 'completed' })
  await app.app.hosted.orders.snapshots.rebuild()
  expect((await home('mobile', ada.token)).openCheckouts).toEqual([])
})

test('a home screen asks Redis the same few times, however much there is to show', async () => {
  const ada = await shop.client.signUp('Ada')
  const few = await redis.during(() => home('web', ada.token))
  const orders = await Promise.all(Array.from({ length: 10 }, () => shop.buy(ada, lines)))
  for (const { id } of orders) await shop.eventuallyOrder(id, { status: 'confirmed' })
  for (let count = 0; count < 5; count += 1) await shop.checkOut(ada, lines, 'tok_slow')
  const [many, shown] = await eventually(async () => {
    const { result, ...measured } = await redis.during(() => home('web', ada.token))
    expect(result.openCheckouts).toHaveLength(5)
    return [measured, result]
  })
  expect(shown.orders.nodes.length).toBeGreaterThanOrEqual(10)
  // One more for the payments and orders that the things in the lists join.
  expect(many.trips).toBeLessThanOrEqual(few.trips + 2)
  expect(many.trips).toBeLessThanOrEqual(4)
})

test('no more are listed than are asked for, and that has a limit', async () => {
  const ada = await shop.client.signUp('Ada')
  for (let count = 0; count < 3; count += 1) await shop.checkOut(ada, lines, 'tok_slow')
  const ask = (first: number) => reader.client.graphql(`{ me { openCheckouts(first: ${first}) { id } } }`, {}, ada)
  await eventually(async () =>
    expect((await ask(3)).data).toEqual({ me: { openCheckouts: Array(3).fill(expect.anything()) } }),
  )
  expect((await ask(1)).data).toEqual({ me: { openCheckouts: [expect.anything()] } })
  for (const first of [0, -1, 101])
    expect((await ask(first)).errors?.[0]?.extensions).toMatchObject({
      code: 'invalid-input',
      errors: [{ path: 'first' }],
    })
})
