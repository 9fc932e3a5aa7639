import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { openWorld } from './world.ts'

setDefaultTimeout(120_000)

const { as, ask, attacker, client, operator, order, paymentId, product, refuses, state, lines } = await openWorld()

const id = Bun.randomUUIDv7()
const forbidden = { status: 403, code: 'forbidden' }
const period = { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' }

const operatorsOnly: [what: string, method: string, path: string, body?: object][] = [
  [
    'makes everything cheap',
    'PUT',
    `/products/${product.sku}`,
    { name: 'Free', price: { amount: 1, currency: 'EUR' } },
  ],
  ['takes the stock away', 'POST', `/products/${product.sku}/stock`, { delta: -1 }],
  ['takes the money of an order back', 'POST', `/payments/${paymentId}/refund`],
  ['settles a period', 'POST', '/settlements', period],
  ['reads what a period came to', 'GET', `/settlements/${id}`],
  ['reads what could not be handled', 'GET', '/ops/dead-letters'],
  ['has it handled again', 'POST', `/ops/dead-letters/${id}/redrive`],
  ['gives it up', 'POST', `/ops/dead-letters/${id}/skip`],
  ['reads which checkouts are stuck', 'GET', '/ops/sagas'],
  ['tries one again', 'POST', `/ops/sagas/${id}/retry`],
  ['skips its step', 'POST', `/ops/sagas/${id}/skip`],
  ['rolls it back', 'POST', `/ops/sagas/${id}/compensate`],
]

refuses(
  operatorsOnly.map(([what, method, path, body]) => ({
    name: `a customer ${what}`,
    send: () => as(attacker, method, path, body),
    ...forbidden,
  })),
)

refuses([
  {
    name: 'a customer takes money back in GraphQL',
    send: () => ask(attacker, `mutation { refundPayment(id: "${paymentId}") { id } }`),
    status: 200,
    code: 'forbidden',
  },
  {
    name: 'a customer settles a period in GraphQL',
    send: () => ask(attacker, `mutation { startSettlement(from: "${period.from}", to: "${period.to}") { id } }`),
    status: 200,
    code: 'forbidden',
  },
  {
    name: 'an operator, who prices the goods, buys them',
    send: () => as({ token: operator }, 'POST', '/orders', { lines, paymentToken: 'tok_visa' }),
    ...forbidden,
  },
  {
    name: 'another method is written into a header',
    send: () =>
      as(attacker, 'GET', `/orders/${order.id}/cancellation`, undefined, { 'x-http-method-override': 'POST' }),
    status: 405,
    code: 'method-not-allowed',
  },
])

describe('no other spelling of a path leads past the door', () => {
  const spellings = [
    '/OPS/sagas',
    '//ops/sagas',
    '/ops//sagas',
    '/ops/sagas/',
    '/ops/./sagas',
    '/x/../ops/sagas',
    '/ops%2fsagas',
    '/%6fps/sagas',
    '/ops/sagas;x=1',
    '/ops/sagas%00',
    '/ops/sagas.json',
  ]
  for (const path of spellings) {
    test(path, async () => {
      const before = await state()
      for (const headers of [{}, { 'x-original-url': '/ops/sagas', 'x-rewrite-url': '/ops/sagas' }]) {
        const response = await client.raw('GET', path, { token: attacker.token, headers })
        expect([403, 404]).toContain(response.status)
        expect(await response.text()).not.toContain('"items"')
      }
      expect(await state()).toEqual(before)
    })
  }
})
