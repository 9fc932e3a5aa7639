import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { orderSnapshot } from '#modules/orders'
import { paymentSnapshot, settlementSnapshot } from '#modules/payments'
import { startTestApp } from '../../test/app.ts'
import { type Answer, consistency } from '../../test/client.ts'
import { openInstance } from '../../test/instance.ts'
import { openShop } from '../../test/shop.ts'
import { decodeConsistency } from '../consistency.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const second = await openInstance(app.environment)
const { client, operator } = shop

afterAll(async () => {
  await second.close()
  await app.stop()
  await shop.close()
})

const money = '{ amount currency }'
const order = `{ id userId status reason lines { sku name quantity price ${money} } total ${money} paymentId version createdAt }`
const payment = `{ id orderId userId status amount ${money} version createdAt }`
const checkout =
  '{ id userId status orderId paymentId error { code message } steps { name status at error { code message } } order { id status } }'
const settlement =
  '{ id status from to tasks { total done failed } totals { currency captured refunded net payments } }'

const document = {
  placeOrder: `mutation ($input: PlaceOrderInput!) { placeOrder(input: $input) ${order} }`,
  cancelOrder: `mutation ($id: ID!) { cancelOrder(id: $id) ${order} }`,
  checkout: `mutation ($input: PlaceOrderInput!) { checkout(input: $input) ${checkout} }`,
  refundPayment: `mutation ($id: ID!) { refundPayment(id: $id) ${payment} }`,
  startSettlement: `mutation ($from: DateTime!, $to: DateTime!) { startSettlement(from: $from, to: $to) ${settlement} }`,
}

type Operation = keyof typeof document
type Variables = Record<string, unknown>

const mutate = async (
  token: string | undefined,
  operation: Operation,
  variables: Variables,
  key?: string,
  at = client,
) => {
  const headers: Record<string, string> = key === undefined ? {} : { 'idempotency-key': key }
  const answer = await at.graphql(document[operation], variables, {
    ...(token === undefined ? {} : { token }),
    headers,
  })
  return { ...answer, made: answer.data?.[operation] }
}

const wanted = (sku: string, quantity = 1, paymentToken = 'tok_visa') => ({
  input: { lines: [{ sku, quantity }], paymentToken },
})

const read = async (path: string, token: string, changed?: Pick<Answer, 'headers'>) => {
  const { status, body } = await client.send('GET', path, { token, headers: changed ? consistency(changed) : {} })
  expect(status).toBe(200)
  return body
}

const { sku, price } = await shop.newProduct(1_000)

const confirmedOrder = async () => {
  const buyer = await shop.newBuyer()
  const { id } = await shop.buy(buyer, [{ sku, quantity: 1 }])
  const confirmed = await shop.eventuallyOrder(id, { status: 'confirmed' })
  await shop.quiet(id)
  return { ...confirmed, paymentId: confirmed.paymentId ?? '', token: buyer.token }
}

describe('over GraphQL', () => {
  test('an order is placed, and cancelled, as over HTTP', async () => {
    const buyer = await shop.newBuyer()
    const placed = await mutate(buyer.token, 'placeOrder', wanted(sku, 2))
    const made = orderSnapshot.parse(placed.made)
    expect(made).toMatchObject({ userId: buyer.id, status: 'pending', version: 1, reason: null, paymentId: null })
    expect(made.lines).toEqual([{ sku, name: `The ${sku}`, quantity: 2, price }])
    expect(made.total).toEqual({ ...price, amount: 2 * price.amount })
    expect(await read(`/orders/${made.id}`, buyer.token, placed)).toMatchObject({ id: made.id, total: made.total })
    expect(await read('/orders', buyer.token, placed)).toMatchObject({ items: [{ id: made.id }] })

    const confirmed = await shop.eventuallyOrder(made.id, { status: 'confirmed' })
    const cancelled = await mutate(buyer.token, 'cancelOrder', { id: made.id.toUpperCase() })
    const after = { ...confirmed, status: 'cancelled', reason: 'requested', version: 3 }
    expect(cancelled.made).toEqual(after)
    expect(await read(`/orders/${made.id}`, buyer.token, cancelled)).toEqual(after)
    await shop.eventuallyPayment(confirmed.paymentId ?? '', { status: 'refunded' })
  })

  test('a cart is checked out, and its order is there to be joined once it is there to be read', async () => {
    const buyer = await shop.newBuyer()
    const started = await mutate(buyer.token, 'checkout', wanted(sku))
    const { id, orderId } = z.object({ id: z.uuid(), orderId: z.uuid() }).parse(started.made)
    expect(started.made).toMatchObject({ userId: buyer.id, status: 'running', paymentId: null, error: null })
    const query = `query ($id: ID!) { checkout(id: $id) ${checkout} }`
    const sent = { token: buyer.token, headers: consistency(started) }
    const { data } = await client.graphql(query, { id }, sent)
    expect(data?.['checkout']).toMatchObject({ id, order: { id: orderId } })
    expect(await read(`/orders/${orderId}`, buyer.token, started)).toMatchObject({ id: orderId, userId: buyer.id })
    expect(await read('/orders', buyer.token, started)).toMatchObject({ items: [{ id: orderId }] })
    const completed = await shop.eventuallyCheckout(id, { status: 'completed' })
    const names = ['reserve-stock', 'create-order', 'charge-payment', 'confirm-order']
    expect(completed.steps.map(({ name }) => name)).toEqual(names as (typeof completed.steps)[number]['name'][])
    const ended = await client.graphql(query, { id }, { token: buyer.token })
    expect(ended.data?.['checkout']).toEqual({ ...completed, order: { id: orderId, status: expect.any(String) } })
  })

  test('a payment is refunded by an operator, and its order is cancelled', async () => {
    const { id, paymentId } = await confirmedOrder()
    const asked = await mutate(operator, 'refundPayment', { id: paymentId })
    expect(paymentSnapshot.parse(asked.made)).toMatchObject({ id: paymentId, orderId: id, amount: price })
    await shop.eventuallyPayment(paymentId, { status: 'refunded' })
    await shop.eventuallyOrder(id, { status: 'cancelled', reason: 'refunded' })
  })

  test('a settlement is started by an operator, whatever the zone of its times', async () => {
    const times = { from: '2026-01-01T02:00:00+02:00', to: '2026-02-01T00:00:00.5Z' }
    const started = await mutate(operator, 'startSettlement', times)
    const { id } = settlementSnapshot.omit({ version: true }).parse(started.made)
    const period = { from: '2026-01-01T00:00:00.000Z', to: '2026-02-01T00:00:00.500Z' }
    expect(started.made).toMatchObject({ ...period, status: 'running', tasks: { done: 0, failed: 0 }, totals: [] })
    expect(await read(`/settlements/${id}`, operator, started)).toMatchObject({ id, ...period })
  })
})

/** The same command over HTTP. */
const overHttp = (operation: Operation, { id, input, ...rest }: Variables): { path: string; body?: unknown } => {
  switch (operation) {
    case 'placeOrder':
      return { path: '/orders', body: input }
    case 'checkout':
      return { path: '/checkouts', body: input }
    case 'cancelOrder':
      return { path: `/orders/${String(id)}/cancellation` }
    case 'refundPayment':
      return { path: `/payments/${String(id)}/refund` }
    case 'startSettlement':
      return { path: '/settlements', body: rest }
  }
}

const [{ token }, paid, cancelled] = [await shop.newBuyer(), await confirmedOrder(), await confirmedOrder()]
expect((await shop.cancel(cancelled.id)).status).toBe(202)
await shop.eventuallyPayment(cancelled.paymentId, { status: 'refunded' })
await shop.eventuallyOrder(cancelled.id, { status: 'cancelled' })
const dollars = await shop.newProduct(5, 'USD')
const dear = `dear-${Bun.randomUUIDv7()}`
const dearPrice = { amount: Number.MAX_SAFE_INTEGER, currency: 'EUR' }
await client.send('PUT', `/products/${dear}`, { token: operator, body: { name: 'Dear', price: dearPrice } })
await client.send('POST', `/products/${dear}/stock`, { token: operator, body: { delta: 5 } })

const mixed = [sku, dollars.sku].map((sku) => ({ sku, quantity: 1 }))
const year = { from: '2026-01-01T00:00:00Z', to: '2027-01-01T00:00:00Z' }
const nobody = undefined

const refusals: [Operation, string, Variables, string | undefined, string][] = [
  ...(['placeOrder', 'checkout'] as const).flatMap((operation): typeof refusals => [
    [operation, 'by nobody', wanted(sku), nobody, 'unauthenticated'],
    [operation, 'by an operator', wanted(sku), operator, 'forbidden'],
    [operation, 'of what there is not', wanted('nothing'), token, 'unknown-sku'],
    [operation, 'in two currencies', { input: { lines: mixed, paymentToken: 'tok_visa' } }, token, 'mixed-currencies'],
    [operation, 'of nothing', { input: { lines: [], paymentToken: 'tok_visa' } }, token, 'invalid-input'],
    [operation, 'of no piece', wanted(sku, 0), token, 'invalid-input'],
    [operation, 'of too many pieces', wanted(sku, 1_001), token, 'invalid-input'],
    [operation, 'without a means to pay', wanted(sku, 1, ''), token, 'invalid-input'],
    [operation, 'of a SKU that is none', wanted('a b'), token, 'invalid-input'],
  ]),
  ['placeOrder', 'of more than there is', wanted(dollars.sku, 6), token, 'out-of-stock'],
  ['placeOrder', 'beyond 2^53', wanted(dear, 2), token, 'too-expensive'],
  ['cancelOrder', 'by nobody', { id: paid.id }, nobody, 'unauthenticated'],
  ['cancelOrder', 'by somebody else', { id: paid.id }, token, 'order-not-found'],
  ['cancelOrder', 'that there is not', { id: Bun.randomUUIDv7() }, token, 'order-not-found'],
  ['cancelOrder', 'that there is not, by an operator', { id: Bun.randomUUIDv7() }, operator, 'order-not-found'],
  ['cancelOrder', 'for the second time', { id: cancelled.id }, cancelled.token, 'already-cancelled'],
  ['cancelOrder', 'by an id that is none', { id: '1' }, token, 'invalid-input'],
  ['refundPayment', 'by nobody', { id: paid.paymentId }, nobody, 'unauthenticated'],
  ['refundPayment', 'by whose it is', { id: paid.paymentId }, paid.token, 'forbidden'],
  ['refundPayment', 'that there is not', { id: Bun.randomUUIDv7() }, operator, 'payment-not-found'],
  ['refundPayment', 'of what went back already', { id: cancelled.paymentId }, operator, 'not-refundable'],
  ['refundPayment', 'by an id that is none', { id: '1' }, operator, 'invalid-input'],
  ['startSettlement', 'by nobody', year, nobody, 'unauthenticated'],
  ['startSettlement', 'by a customer', year, token, 'forbidden'],
  ['startSettlement', 'that ends before it begins', { from: year.to, to: year.from }, operator, 'invalid-input'],
  ['startSettlement', 'of no time', { from: year.from, to: year.from }, operator, 'invalid-input'],
]

describe('a refusal has the code, the words and the fields of HTTP:', () => {
  for (const [operation, name, variables, token, code] of refusals) {
    test(`${operation} ${name}: ${code}`, async () => {
      const answer = await mutate(token, operation, variables)
      expect([answer.data, answer.headers.get('consistency-token')]).toEqual([null, null])
      expect(answer.errors).toHaveLength(1)
      const { path, ...sent } = overHttp(operation, variables)
      const http = await client.send('POST', path, { ...sent, ...(token === undefined ? {} : { token }) })
      const problem = z.object({ detail: z.string(), code: z.string(), errors: z.array(z.unknown()).optional() })
      const { detail, ...extensions } = problem.parse(http.body)
      expect(extensions.code).toBe(code)
      const error = answer.errors?.[0]
      expect(error).toMatchObject({ message: detail, path: [operation] })
      const named = z.array(z.object({ path: z.string() })).optional()
      const paths = (errors: unknown) => named.parse(errors)?.map(({ path }) => path)
      expect(error?.extensions.code).toBe(code)
      expect(paths(error?.extensions['errors'])).toEqual(paths(extensions.errors))
    })
  }

  test('a time that is none', async () => {
    for (const from of ['yesterday', '2026', '2026-01-01', '2026-13-01T00:00:00Z', 'Thu, 01 Jan 2026 00:00:00 GMT']) {
      const { errors, status } = await mutate(operator, 'startSettlement', { ...year, from })
      expect([status, errors?.map(({ extensions }) => extensions.code)]).toEqual([400, ['invalid-input']])
      const http = await client.send('POST', '/settlements', { token: operator, body: { ...year, from } })
      expect(http.body).toMatchObject({ status: 400, code: 'invalid-input', errors: [{ path: 'from' }] })
    }
  })
})

describe('with an Idempotency-Key', () => {
  const newKey = () => Bun.randomUUIDv7()
  const given = ({ status, body, headers }: Awaited<ReturnType<typeof mutate>>) => ({
    status,
    body,
    consistency: headers.get('consistency-token'),
  })
  const ordersOf = async (userId: string): Promise<number> => {
    const [row] = await shop.orders.run('select count(*) as number from orders where user_id = $1', [userId])
    return Number(row?.['number'])
  }

  const commands: [Operation, () => Promise<[string, Variables]>][] = [
    ['placeOrder', async () => [(await shop.newBuyer()).token, wanted(sku)]],
    ['cancelOrder', async () => [operator, { id: (await confirmedOrder()).id }]],
    ['refundPayment', async () => [operator, { id: (await confirmedOrder()).paymentId }]],
    ['startSettlement', async () => [operator, year]],
  ]
  for (const [operation, prepare] of commands) {
    test(`${operation} gives repeats the first answer, at the same moment and from another process`, async () => {
      const [token, variables] = await prepare()
      const key = newKey()
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, time) =>
          mutate(token, operation, variables, key, time % 2 === 0 ? client : second.client),
        ),
      )
      const [first] = answers
      expect(first?.errors).toBeUndefined()
      expect(first?.made).toBeTruthy()
      for (const answer of answers) expect(JSON.stringify(given(answer))).toBe(JSON.stringify(first && given(first)))
    })
  }

  test('a checkout gives a repeat the same checkout', async () => {
    const { id, token } = await shop.newBuyer()
    const key = newKey()
    const [one, other] = [
      await mutate(token, 'checkout', wanted(sku), key),
      await mutate(token, 'checkout', wanted(sku), key),
    ]
    const checkout = z.object({ id: z.uuid() })
    expect(checkout.parse(other.made)).toEqual(checkout.parse(one.made))
    expect(await ordersOf(id)).toBe(1)
  })

  test('another input or another document is refused', async () => {
    const { id, token } = await shop.newBuyer()
    const key = newKey()
    await mutate(token, 'placeOrder', wanted(sku), key)
    const headers = { 'idempotency-key': key }
    const more = await mutate(token, 'placeOrder', wanted(sku, 2), key)
    const less = await client.graphql(
      'mutation ($input: PlaceOrderInput!) { placeOrder(input: $input) { id } }',
      wanted(sku),
      {
        token,
        headers,
      },
    )
    for (const { errors } of [more, less]) expect(errors?.[0]?.extensions.code).toBe('idempotency-key-reused')
    expect(await ordersOf(id)).toBe(1)
  })

  test('each field of a document has its own effect, once', async () => {
    const { id, token } = await shop.newBuyer()
    const query =
      'mutation ($input: PlaceOrderInput!) { a: placeOrder(input: $input) { id } b: placeOrder(input: $input) { id } }'
    const sent = { token, headers: { 'idempotency-key': newKey() } }
    const [first, again] = [
      await client.graphql(query, wanted(sku), sent),
      await client.graphql(query, wanted(sku), sent),
    ]
    expect(again.body).toEqual(first.body)
    expect(first.data?.['a']).not.toEqual(first.data?.['b'])
    expect(await ordersOf(id)).toBe(2)
    const token64 = again.headers.get('consistency-token') ?? ''
    expect(decodeConsistency(token64)).toHaveLength(2)
  })

  test('a refusal is given again although the command would now succeed', async () => {
    const [{ token }, { sku }] = [await shop.newBuyer(), await shop.newProduct(1)]
    const key = newKey()
    const refused = await mutate(token, 'placeOrder', wanted(sku, 2), key)
    expect(refused.errors?.[0]?.extensions.code).toBe('out-of-stock')
    await client.send('POST', `/products/${sku}/stock`, { token: operator, body: { delta: 5 } })
    expect(given(await mutate(token, 'placeOrder', wanted(sku, 2), key))).toEqual(given(refused))
    expect((await mutate(token, 'placeOrder', wanted(sku, 2), newKey())).errors).toBeUndefined()
  })

  test('a key over GraphQL is another one than over HTTP, and a malformed one is refused', async () => {
    const { id, token } = await shop.newBuyer()
    const key = newKey()
    await mutate(token, 'placeOrder', wanted(sku), key)
    const body = wanted(sku).input
    const http = await client.send('POST', '/orders', { token, body, headers: { 'idempotency-key': key } })
    expect([http.status, await ordersOf(id)]).toEqual([202, 2])
    const { errors } = await mutate(token, 'placeOrder', wanted(sku), 'a b')
    expect(errors?.[0]?.extensions).toMatchObject({ code: 'invalid-input', errors: [{ path: 'Idempotency-Key' }] })
  })
})
