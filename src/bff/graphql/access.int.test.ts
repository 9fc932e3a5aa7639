import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { startTestApp } from '../../test/app.ts'
import { consistency, refusal } from '../../test/client.ts'
import { openShop } from '../../test/shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { client, operator } = shop

afterAll(async () => {
  await app.stop()
  await shop.close()
})

const [ada, eve] = [await client.signUp('Ada'), await client.signUp('Eve')]
const { sku } = await shop.newProduct(100)

/** One order by each way to buy, with its payment. */
const buyBoth = async (buyer: { id: string; token: string }) => {
  const lines = [{ sku, quantity: 1 }]
  const [order, started] = [await shop.buy(buyer, lines), await shop.checkOut(buyer, lines)]
  const { paymentId } = await shop.eventuallyOrder(order.id, { status: 'confirmed' })
  const checkout = await shop.eventuallyCheckout(started.id, { status: 'completed' })
  await shop.eventuallyOrder(checkout.orderId ?? '', { status: 'confirmed' })
  for (const id of [paymentId, checkout.paymentId]) await shop.eventuallyPayment(id ?? '', { status: 'captured' })
  return { order: order.id, payment: paymentId ?? '', checkout: checkout.id, checkedOut: checkout.orderId ?? '' }
}

const of = { ada: await buyBoth(ada), eve: await buyBoth(eve) }

const period = { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' }
const started = await client.send('POST', '/settlements', { token: operator, body: period })
const settlement = z.object({ id: z.uuid() }).parse(started.body).id

/** What belongs to somebody: its query, its route, whose id it has, and everything that can be reached from it. */
const things = {
  user: {
    path: 'users',
    id: ada.id,
    missing: 'user-not-found',
    fields:
      'id name email status version createdAt orders(first: 100) { nodes { id userId user { id name } payment { id userId } } }',
  },
  order: {
    path: 'orders',
    id: of.ada.order,
    missing: 'order-not-found',
    fields: 'id userId status user { id email } payment { id userId order { id user { id name } } }',
  },
  checkout: {
    path: 'checkouts',
    id: of.ada.checkout,
    missing: 'checkout-not-found',
    fields: 'id userId status order { id userId user { id name } payment { id } }',
  },
  payment: {
    path: 'payments',
    id: of.ada.payment,
    missing: 'payment-not-found',
    fields: 'id userId amount { amount currency } order { id userId user { id orders { nodes { id } } } }',
  },
}

const query = (field: string, fields: string) => `query ($id: ID!) { ${field}(id: $id) { ${fields} } }`

const codesOf = ({ errors }: Awaited<ReturnType<typeof client.graphql>>) =>
  errors?.map(({ extensions }) => extensions.code)

describe.each(Object.entries(things))('%s', (field, { path, id, missing, fields }) => {
  const document = query(field, fields)

  test('is read with all its joins by whose it is and by an operator, who see the same', async () => {
    const own = await client.graphql(document, { id }, { token: ada.token })
    expect(own.errors).toBeUndefined()
    expect(own.data?.[field]).toMatchObject({ id })
    const seen = JSON.stringify(own.data)
    expect(seen).toContain(ada.id)
    expect(seen).not.toContain('null')
    for (const hidden of [eve.id, eve.email, of.eve.order, of.eve.payment]) expect(seen).not.toContain(hidden)
    expect((await client.graphql(document, { id }, { token: operator })).body).toEqual(own.body)
  })

  test('of somebody else is as if it were not there, over GraphQL and over HTTP', async () => {
    const unknown = Bun.randomUUIDv7()
    const foreign = await client.graphql(document, { id }, { token: eve.token })
    const nowhere = await client.graphql(document, { id: unknown }, { token: eve.token })
    expect([foreign.data, codesOf(foreign)]).toEqual([{ [field]: null }, [missing]])
    expect(foreign.body).toEqual(nowhere.body)
    const read = await client.send('GET', `/${path}/${id}`, { token: eve.token })
    const unread = await client.send('GET', `/${path}/${unknown}`, { token: eve.token })
    expect(refusal(read)).toEqual({ status: 404, code: missing })
    expect(read.body).toEqual(unread.body)
  })

  test('is refused to nobody, and its id must be one', async () => {
    expect(codesOf(await client.graphql(document, { id }))).toEqual(['unauthenticated'])
    expect(refusal(await client.send('GET', `/${path}/${id}`))).toEqual({ status: 401, code: 'unauthenticated' })
    const ill = await client.graphql(document, { id: '1' }, { token: ada.token })
    expect(ill.errors?.[0]?.extensions).toMatchObject({ code: 'invalid-input', errors: [{ path: 'id' }] })
  })
})

describe('a settlement', () => {
  const document = query('settlement', 'id status from to tasks { total } totals { currency net }')

  test('is read by an operator', async () => {
    const headers = consistency(started)
    const { data } = await client.graphql(document, { id: settlement }, { token: operator, headers })
    expect(data).toMatchObject({
      settlement: { id: settlement, from: '2026-01-01T00:00:00.000Z', tasks: { total: 24 } },
    })
    expect((await client.send('GET', `/settlements/${settlement}`, { token: operator, headers })).body).toMatchObject({
      id: settlement,
    })
  })

  test('is refused to a customer, whether it is there or not, and to nobody', async () => {
    for (const id of [settlement, Bun.randomUUIDv7()]) {
      const answer = await client.graphql(document, { id }, { token: ada.token })
      expect([answer.data, codesOf(answer)]).toEqual([{ settlement: null }, ['forbidden']])
      const read = await client.send('GET', `/settlements/${id}`, { token: ada.token })
      expect(refusal(read)).toEqual({ status: 403, code: 'forbidden' })
      expect(codesOf(await client.graphql(document, { id }))).toEqual(['unauthenticated'])
      expect(refusal(await client.send('GET', `/settlements/${id}`))).toEqual({ status: 401, code: 'unauthenticated' })
    }
  })

  test('that there is not is told to an operator', async () => {
    const id = Bun.randomUUIDv7()
    expect(codesOf(await client.graphql(document, { id }, { token: operator }))).toEqual(['settlement-not-found'])
    const read = await client.send('GET', `/settlements/${id}`, { token: operator })
    expect(read.body).toMatchObject({ status: 404, code: 'settlement-not-found', title: 'Settlement not found' })
  })
})

describe('the orders', () => {
  const page = z.object({ nodes: z.array(z.object({ id: z.uuid(), userId: z.uuid() })) })
  const list = z.object({ items: z.array(z.object({ id: z.uuid(), userId: z.uuid() })) })
  const document = '{ orders(first: 100) { nodes { id userId } } }'

  test('of a customer are its own, newest first, over GraphQL and over HTTP', async () => {
    const { data } = await client.graphql(document, {}, { token: ada.token })
    const { body } = await client.send('GET', '/orders?limit=100', { token: ada.token })
    const { nodes } = page.parse(data?.['orders'])
    expect(nodes.map(({ id }) => id)).toEqual([of.ada.checkedOut, of.ada.order].toSorted().toReversed())
    expect(new Set(nodes.map(({ userId }) => userId))).toEqual(new Set([ada.id]))
    expect(list.parse(body).items).toMatchObject(nodes)
  })

  test('of everybody are an operator’s to see', async () => {
    const buyers = [await shop.newBuyer(), await shop.newBuyer()]
    const placed: string[] = []
    for (const buyer of buyers) placed.push((await shop.buy(buyer, [{ sku, quantity: 1 }])).id)
    for (const id of placed) await shop.eventuallyOrder(id, {})
    const { data } = await client.graphql(document, {}, { token: operator })
    expect(page.parse(data?.['orders']).nodes.map(({ id }) => id)).toEqual(expect.arrayContaining(placed))
    const { body } = await client.send('GET', '/orders?limit=100', { token: operator })
    expect(list.parse(body).items.map(({ id }) => id)).toEqual(expect.arrayContaining(placed))
  })

  test('are refused to nobody', async () => {
    const answer = await client.graphql(document)
    expect([answer.data, codesOf(answer)]).toEqual([null, ['unauthenticated']])
    expect(refusal(await client.send('GET', '/orders'))).toEqual({ status: 401, code: 'unauthenticated' })
  })

  test('are read page by page, each once, by cursors that both faces take', async () => {
    const [newest, oldest] = [of.ada.checkedOut, of.ada.order].toSorted().toReversed()
    const paged =
      'query ($after: String) { orders(first: 1, after: $after) { edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }'
    const first = await client.graphql(paged, {}, { token: ada.token })
    const http = await client.send('GET', '/orders?limit=1', { token: ada.token })
    const { nextCursor } = z.object({ nextCursor: z.string() }).parse(http.body)
    expect(first.data?.['orders']).toEqual({
      edges: [{ cursor: nextCursor, node: { id: newest } }],
      pageInfo: { hasNextPage: true, hasPreviousPage: false, startCursor: nextCursor, endCursor: nextCursor },
    })
    const second = await client.graphql(paged, { after: nextCursor }, { token: ada.token })
    expect(second.data?.['orders']).toMatchObject({
      edges: [{ node: { id: oldest } }],
      pageInfo: { hasNextPage: false },
    })
    const rest = await client.send('GET', `/orders?limit=1&cursor=${nextCursor}`, { token: ada.token })
    expect(rest.body).toMatchObject({ items: [{ id: oldest }], nextCursor: null })
  })

  test('are refused in pages that are none, in the words of each face', async () => {
    const ask = (page: string) => client.graphql(`{ orders(${page}) { nodes { id } } }`, {}, { token: ada.token })
    for (const [page, path] of [
      ['first: 0', 'first'],
      ['first: 101', 'first'],
      ['first: -1', 'first'],
      ['after: "x"', 'after'],
    ] as const) {
      const { errors } = await ask(page)
      expect(errors?.[0]?.extensions).toMatchObject({ code: 'invalid-input', errors: [{ path }] })
    }
    for (const [page, path] of [
      ['limit=0', 'limit'],
      ['limit=101', 'limit'],
      ['limit=x', 'limit'],
      ['limit=1.5', 'limit'],
      ['cursor=x', 'cursor'],
      ['cursor=', 'cursor'],
    ] as const) {
      const answer = await client.send('GET', `/orders?${page}`, { token: ada.token })
      expect(answer.body).toMatchObject({ status: 400, code: 'invalid-input', errors: [{ path }] })
    }
  })
})

test('the products are read by anybody, the same over GraphQL and over HTTP', async () => {
  const { sku, price } = await shop.newProduct(7)
  const product = { sku, name: `The ${sku}`, price, stock: 7 }
  await shop.eventuallyStock(sku, 7)
  const { data } = await client.graphql('{ products { sku name price { amount currency } stock } }')
  expect(data?.['products']).toContainEqual(product)
  const { body } = await client.send('GET', '/products')
  expect(body).toEqual({ items: expect.arrayContaining([product]) })
})
