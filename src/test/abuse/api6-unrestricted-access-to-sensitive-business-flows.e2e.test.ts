import { expect, setDefaultTimeout, test } from 'bun:test'
import { openWorld } from './world.ts'

setDefaultTimeout(120_000)

const world = await openWorld()
const {
  as,
  ask,
  attacker,
  cancel,
  eventuallyOrder,
  eventuallyPayment,
  expectBalanced,
  ledgerOf,
  newProduct,
  operator,
  order,
} = world
const { paymentId, product, quiet, refund, refuses, state, victim } = world

const { sku } = product
const invalid = { status: 400, code: 'invalid-input' }
const buy = (quantity: unknown, more: object = {}) =>
  as(attacker, 'POST', '/orders', { lines: [{ sku, quantity }], paymentToken: 'tok_visa', ...more })
const huge = await newProduct(1_000)
const put = (price: unknown, name: unknown = 'Cheap') =>
  as({ token: operator }, 'PUT', `/products/${sku}`, { name, price })
const stock = (delta: unknown) => as({ token: operator }, 'POST', `/products/${sku}/stock`, { delta })
const dollars = await newProduct(10, 'USD')

const quantities: [name: string, quantity: unknown][] = [
  ['less than nothing', -1],
  ['nothing', 0],
  ['half a piece', 0.5],
  ['more than there are numbers for', 1e308],
  ['more than an integer holds', 2 ** 53 + 2],
  ['more than may be bought at once', 1_001],
  ['a number in a text', '1'],
  ['a number in a list', [1]],
  ['true', true],
  ['null', null],
]
refuses(
  quantities.map(([name, quantity]) => ({ name: `a customer buys ${name}`, send: () => buy(quantity), ...invalid })),
)

refuses([
  {
    name: 'a customer buys more than there is, in many small lines',
    send: () =>
      as(attacker, 'POST', '/orders', {
        lines: Array.from({ length: 100 }, () => ({ sku, quantity: 2 })),
        paymentToken: 'tok_visa',
      }),
    status: 409,
    code: 'out-of-stock',
  },
  {
    name: 'a customer buys in two currencies, to pay in the weaker',
    send: () =>
      as(attacker, 'POST', '/orders', {
        lines: [sku, dollars.sku].map((each) => ({ sku: each, quantity: 1 })),
        paymentToken: 'tok_visa',
      }),
    status: 422,
    code: 'mixed-currencies',
  },
  {
    name: 'a customer buys what is not for sale',
    send: () => buy(1, { lines: [{ sku: 'nothing-of-this-name', quantity: 1 }] }),
    status: 422,
    code: 'unknown-sku',
  },
  { name: 'a customer buys nothing at all', send: () => buy(1, { lines: [] }), ...invalid },
  {
    name: 'a product is named by a NUL',
    send: () => buy(1, { lines: [{ sku: `${sku}\0`, quantity: 1 }] }),
    ...invalid,
  },
  {
    name: 'a quantity in GraphQL is more than it can hold',
    send: () =>
      ask(
        attacker,
        `mutation { placeOrder(input: { lines: [{ sku: "${sku}", quantity: 4294967297 }], paymentToken: "x" }) { id } }`,
      ),
    status: 200,
    code: /\w/,
  },
  { name: 'an operator slips: a price below nothing', send: () => put({ amount: -1, currency: 'EUR' }), ...invalid },
  { name: 'an operator slips: a price of nothing', send: () => put({ amount: 0, currency: 'EUR' }), ...invalid },
  { name: 'an operator slips: half a cent', send: () => put({ amount: 0.5, currency: 'EUR' }), ...invalid },
  { name: 'an operator slips: a price beyond 2^53', send: () => put({ amount: 2 ** 53, currency: 'EUR' }), ...invalid },
  { name: 'an operator slips: no currency of this world', send: () => put({ amount: 1, currency: 'eur' }), ...invalid },
  { name: 'an operator slips: a name of half a letter', send: () => put(product.price, '\ud83d'), ...invalid },
  { name: 'an operator slips: stock beyond all numbers', send: () => stock(1e15), ...invalid },
  {
    name: 'an operator slips: more is taken out than there is',
    send: () => stock(-1_000_000),
    status: 409,
    code: 'out-of-stock',
  },
  {
    name: 'a paid order’s money is taken back by its buyer',
    send: () => refund(paymentId, victim.token),
    status: 403,
    code: 'forbidden',
  },
])

test('one click too many buys once, however often and at the same moment it is sent', async () => {
  const once = await newProduct(10)
  const body = { lines: [{ sku: once.sku, quantity: 3 }], paymentToken: 'tok_visa' }
  const key = { 'idempotency-key': Bun.randomUUIDv7() }
  const answers = await Promise.all(Array.from({ length: 8 }, () => as(attacker, 'POST', '/orders', body, key)))
  expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1)
  const [{ id } = { id: '' }] = answers.map((answer) => answer.body as { id: string })
  const more = { ...body, lines: [{ sku: once.sku, quantity: 9 }] }
  const other = await as(attacker, 'POST', '/orders', more, key)
  expect(other).toMatchObject({ status: 422, body: { code: 'idempotency-key-reused' } })
  const confirmed = await eventuallyOrder(id, { status: 'confirmed' })
  await quiet(id)
  expect(await ledgerOf(confirmed.total.amount)).toEqual(['capture'])
  await expectBalanced(once.sku)
})

test('of many who want the last piece one gets it', async () => {
  const last = await newProduct(1)
  const lines = [{ sku: last.sku, quantity: 1 }]
  const statuses = (await Promise.all(Array.from({ length: 10 }, () => buy(1, { lines })))).map(({ status }) => status)
  expect(statuses.filter((status) => status === 202)).toHaveLength(1)
  expect(statuses.filter((status) => status === 409)).toHaveLength(9)
  await expectBalanced(last.sku)
})

test('an order is cancelled and paid back once, however often that is asked for', async () => {
  const before = await state()
  const statuses = (await Promise.all(Array.from({ length: 6 }, () => cancel(order.id, victim.token)))).map(
    ({ status }) => status,
  )
  expect(statuses.filter((status) => status === 202)).toHaveLength(1)
  expect(statuses.filter((status) => status === 409)).toHaveLength(5)
  await eventuallyPayment(paymentId, { status: 'refunded' })
  await quiet(order.id)
  const again = await refund(paymentId)
  expect(again).toMatchObject({ status: 409, body: { code: 'not-refundable' } })
  expect((await ledgerOf(order.total.amount)).filter((kind) => kind === 'refund')).toHaveLength(1)
  expect((await state()).product).not.toBe(before.product)
  await expectBalanced(sku)
})

test('a total beyond what can be counted is refused before anything is reserved', async () => {
  const price = { amount: 2 ** 53 - 1, currency: 'EUR' }
  await as({ token: operator }, 'PUT', `/products/${huge.sku}`, { name: 'Huge', price })
  const answer = await buy(1, { lines: [{ sku: huge.sku, quantity: 1_000 }] })
  expect(answer).toMatchObject({ status: 422, body: { code: 'too-expensive' } })
  await expectBalanced(huge.sku)
})
