import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { registerUser } from '#modules/users'
import { startTestApp } from '../../test/app.ts'
import { openCountedReader } from '../../test/counted-reader.ts'
import { eventually } from '../../test/eventually.ts'
import { openShop } from '../../test/shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { redis, reader, close } = await openCountedReader(app.environment)

afterAll(async () => {
  await close()
  await app.stop()
  await shop.close()
})

/** A buyer whom users know, without a password, since to hash a hundred takes long. */
const newKnownBuyer = async () => {
  const buyer = await shop.newBuyer()
  const context = app.app.faces.users.context({ correlationId: buyer.id, causationId: buyer.id })
  const passwords = { ...context.passwords, hash: () => Promise.resolve('of no password') }
  const input = { name: `Buyer ${buyer.id}`, email: `${buyer.id}@example.com`, password: '' }
  await registerUser({ ...context, passwords, newId: () => buyer.id }, input)
  return buyer
}

const many = 100
const { sku } = await shop.newProduct(1_000)
const lines = [{ sku, quantity: 1 }]

/** So many at a time that a small machine does not choke on them. */
const each = async <In, Out>(items: In[], work: (item: In) => Promise<Out>): Promise<Out[]> => {
  const done: Out[] = []
  for (let start = 0; start < items.length; start += 10)
    done.push(...(await Promise.all(items.slice(start, start + 10).map(work))))
  return done
}

const times = Array.from({ length: many }, (_, index) => index)
const ada = await newKnownBuyer()
const others = await each(times, newKnownBuyer)
const foreign = await each(others, (buyer) => shop.buy(buyer, lines))
const checkouts = await each(times, () => shop.checkOut(ada, lines))
const confirmed = (ids: string[]) => each(ids, (id) => shop.eventuallyOrder(id, { status: 'confirmed' }))
const paid = await confirmed(foreign.map(({ id }) => id))
await each(checkouts, ({ id }) => shop.eventuallyCheckout(id, { status: 'completed' }))
await each(paid, ({ paymentId }) => shop.eventuallyPayment(paymentId ?? '', { status: 'captured' }))

/** One document that asks for the same of each of the ids. */
const ofEach = (field: string, ids: string[], fields: string): string =>
  `{ ${ids.map((id, index) => `n${index}: ${field}(id: "${id}") { ${fields} }`).join(' ')} }`

type Measured = { trips: number; commands: string[]; data: Record<string, unknown> }

const ask = async (token: string, query: string): Promise<Measured> => {
  const { result, ...traffic } = await redis.during(() => reader.client.graphql(query, {}, { token }))
  expect(result.errors).toBeUndefined()
  return { ...traffic, data: result.data ?? {} }
}

/** Asks for one, ten and a hundred, and expects that Redis is asked the same number of times. */
const expectConstant = (
  token: string,
  queryFor: (count: number) => string,
  perItem: string[] = [],
): Promise<Measured> =>
  eventually(async () => {
    const [one, ...more] = [
      await ask(token, queryFor(1)),
      await ask(token, queryFor(10)),
      await ask(token, queryFor(many)),
    ]
    const shared = ({ commands }: Measured) => commands.filter((command) => !perItem.includes(command))
    for (const measured of more) {
      expect(shared(measured)).toEqual(shared(one))
      expect(measured.trips).toBe(one.trips)
    }
    return more.at(-1) ?? one
  })

const nodes = z.array(
  z.object({ id: z.string(), user: z.object({ id: z.string() }), payment: z.object({ orderId: z.string() }) }),
)

describe('the round trips to Redis do not grow with the number of', () => {
  test('orders in a page, each with its user and its payment', async () => {
    const queryFor = (count: number) =>
      `{ orders(first: ${count}) { nodes { id user { id name } payment { orderId status } } } }`
    const { data, commands, trips } = await expectConstant(ada.token, queryFor)
    const found = nodes.parse((data['orders'] as { nodes: unknown }).nodes)
    expect(found).toHaveLength(many)
    for (const { id, user, payment } of found) expect([user.id, payment.orderId]).toEqual([ada.id, id])
    // The page's ids with the session; the orders; their users and payments.
    expect(commands.toSorted()).toEqual(['mget', 'mget', 'mget', 'zrange'])
    expect(trips).toBeLessThanOrEqual(3)
  })

  test('orders of as many users, each with its user and its payment', async () => {
    const ids = paid.map(({ id }) => id)
    const { data } = await expectConstant(shop.operator, (count) =>
      ofEach('order', ids.slice(0, count), 'id user { id } payment { orderId }'),
    )
    const found = nodes.parse(times.map((index) => data[`n${index}`]))
    for (const [index, { id, user, payment }] of found.entries())
      expect([user.id, payment.orderId, id]).toEqual([others[index]?.id ?? '', id, ids[index] ?? ''])
  })

  test('orders whose user is asked for the orders again', async () => {
    const { data } = await expectConstant(
      ada.token,
      (count) => `{ orders(first: ${count}) { nodes { user { orders(first: 2) { nodes { id } } } } } }`,
    )
    const page = { user: { orders: { nodes: [expect.anything(), expect.anything()] } } }
    expect(data).toEqual({ orders: { nodes: times.map(() => page) } })
  })

  test('users, each with its orders and their payments, but for one command a list in the same round trip', async () => {
    const queryFor = (count: number) =>
      ofEach(
        'user',
        others.slice(0, count).map(({ id }) => id),
        'orders(first: 5) { nodes { id payment { orderId } } }',
      )
    const { data } = await expectConstant(shop.operator, queryFor, ['zrange'])
    for (const index of times) {
      const id = paid[index]?.id ?? ''
      expect(data[`n${index}`]).toEqual({ orders: { nodes: [{ id, payment: { orderId: id } }] } })
    }
  })

  test('checkouts, each with its order and what that joins', async () => {
    const fields = 'id order { id user { id } payment { orderId } }'
    const { data } = await expectConstant(ada.token, (count) =>
      ofEach(
        'checkout',
        checkouts.slice(0, count).map(({ id }) => id),
        fields,
      ),
    )
    for (const [index, { id, orderId }] of checkouts.entries())
      expect(data[`n${index}`]).toEqual({ id, order: { id: orderId, user: { id: ada.id }, payment: { orderId } } })
  })

  test('payments, each with its order', async () => {
    const ids = paid.map(({ paymentId }) => paymentId ?? '')
    const { data } = await expectConstant(shop.operator, (count) =>
      ofEach('payment', ids.slice(0, count), 'id order { id }'),
    )
    for (const [index, { id }] of paid.entries()) expect(data[`n${index}`]).toEqual({ id: ids[index], order: { id } })
  })
})
