import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
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

const list = z.object({
  items: z.array(
    z.strictObject({
      sku: z.string(),
      name: z.string(),
      price: z.strictObject({ amount: z.int(), currency: z.string() }),
      stock: z.int(),
    }),
  ),
})

const listed = async (sku: string, headers: Record<string, string> = {}) =>
  list.parse((await shop.client.send('GET', '/products', { headers })).body).items.find((item) => item.sku === sku)

const freshSku = () => `test-${Bun.randomUUIDv7()}`

const eur = (amount: number) => ({ amount, currency: 'EUR' })

const put = (sku: string, body: unknown, token = shop.operator) =>
  shop.client.send('PUT', `/products/${sku}`, { token, body })

const changeStock = (sku: string, delta: number, token = shop.operator) =>
  shop.client.send('POST', `/products/${sku}/stock`, { token, body: { delta } })

test('anybody reads what is for sale: the seeded products, by SKU, with prices in EUR', async () => {
  const { status, body } = await shop.client.send('GET', '/products')
  expect(status).toBe(200)
  const { items } = list.parse(body)
  const seeded = ['coffee', 'cup', 'honey', 'kettle', 'samovar', 'tea']
  expect(items.filter(({ sku }) => seeded.includes(sku)).map(({ sku, price }) => [sku, price.currency])).toEqual(
    seeded.map((sku) => [sku, 'EUR']),
  )
})

test('an operator creates a product without stock, changes it, and the list shows each change at once', async () => {
  const sku = freshSku()
  const created = await put(sku, { name: 'Teapot', price: eur(1_500) })
  expect(created).toMatchObject({ status: 200, body: { sku, name: 'Teapot', price: eur(1_500), stock: 0 } })
  expect(await listed(sku, consistency(created))).toEqual({ sku, name: 'Teapot', price: eur(1_500), stock: 0 })

  const stocked = await changeStock(sku, 8)
  expect(stocked).toMatchObject({ status: 200, body: { sku, stock: 8 } })
  expect(await listed(sku, consistency(stocked))).toMatchObject({ stock: 8 })

  const changed = await put(sku, { name: 'Pot', price: eur(1_400) })
  expect(changed).toMatchObject({ status: 200, body: { sku, name: 'Pot', price: eur(1_400), stock: 8 } })
  expect(await listed(sku, consistency(changed))).toEqual({ sku, name: 'Pot', price: eur(1_400), stock: 8 })
})

test('stock never falls below zero, whoever takes at the same moment', async () => {
  const { sku } = await shop.newProduct(10)
  expect(refusal(await changeStock(sku, -11))).toEqual({ status: 409, code: 'out-of-stock' })
  await shop.eventuallyStock(sku, 10)
  const answers = await Promise.all(Array.from({ length: 12 }, () => changeStock(sku, -3)))
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(3)
  const refused = answers.filter(({ status }) => status !== 200)
  expect(refused.map(refusal)).toEqual(refused.map(() => ({ status: 409, code: 'out-of-stock' })))
  await shop.eventuallyStock(sku, 1)
  await shop.expectBalanced(sku)
})

test('what is reserved is not there to be taken away', async () => {
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  const { id } = await shop.buy(buyer, [{ sku, quantity: 4 }])
  expect(refusal(await changeStock(sku, -2))).toEqual({ status: 409, code: 'out-of-stock' })
  expect((await changeStock(sku, -1)).status).toBe(200)
  await shop.eventuallyOrder(id, { status: 'confirmed' })
  await shop.eventuallyStock(sku, 0)
  await shop.expectBalanced(sku)
})

test('an Idempotency-Key adds stock once', async () => {
  const { sku } = await shop.newProduct(5)
  const headers = { 'idempotency-key': Bun.randomUUIDv7() }
  const send = (delta: number) =>
    shop.client.send('POST', `/products/${sku}/stock`, { token: shop.operator, headers, body: { delta } })
  const answers = [...(await Promise.all([send(7), send(7), send(7)])), await send(7)]
  expect(answers.map(({ status, body }) => ({ status, body }))).toEqual(
    answers.map(() => ({ status: 200, body: expect.objectContaining({ sku, stock: 12 }) })),
  )
  expect(refusal(await send(8))).toEqual({ status: 422, code: 'idempotency-key-reused' })
  await shop.eventuallyStock(sku, 12)
})

test('customers and strangers change nothing', async () => {
  const [{ token }, { sku, price }] = [await shop.newBuyer(), await shop.newProduct(5)]
  await shop.eventuallyStock(sku, 5)
  const forbidden = { status: 403, code: 'forbidden' }
  expect(refusal(await put(sku, { name: 'Mine', price: eur(1) }, token))).toEqual(forbidden)
  expect(refusal(await put(freshSku(), { name: 'New', price: eur(1) }, token))).toEqual(forbidden)
  expect(refusal(await changeStock(sku, 1, token))).toEqual(forbidden)
  const unsigned = await shop.client.send('POST', `/products/${sku}/stock`, { body: { delta: 1 } })
  expect(refusal(unsigned)).toEqual({ status: 401, code: 'unauthenticated' })
  expect(await listed(sku)).toEqual({ sku, name: `The ${sku}`, price, stock: 5 })
})

test('what does not fit is refused, and so is stock of what is not there', async () => {
  const sku = freshSku()
  expect(refusal(await changeStock(sku, 1))).toEqual({ status: 404, code: 'product-not-found' })
  const bodies = [
    { name: '', price: eur(1) },
    { name: 'No price' },
    { name: 'Free', price: eur(0) },
    { name: 'Negative', price: eur(-1) },
    { name: 'Broken', price: eur(1.5) },
    { name: 'Lower case', price: { amount: 1, currency: 'eur' } },
  ]
  for (const body of bodies) expect(refusal(await put(sku, body))).toEqual({ status: 400, code: 'invalid-input' })
  expect(refusal(await put('a%20b', { name: 'A', price: eur(1) }))).toEqual({ status: 400, code: 'invalid-input' })
  const half = await shop.client.send('POST', `/products/${sku}/stock`, { token: shop.operator, body: { delta: 0.5 } })
  expect(refusal(half)).toEqual({ status: 400, code: 'invalid-input' })
  expect(await listed(sku)).toBeUndefined()
})
