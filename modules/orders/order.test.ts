import { describe, expect, test } from 'bun:test'
import * as fc from 'fast-check'
import { DomainError } from '#platform/errors'
import {
  type CancelReason,
  type Line,
  type Order,
  type PendingOrder,
  cancel,
  confirm,
  mergeLines,
  place,
  priceLines,
  totalOf,
} from './order.ts'
import { createProduct } from './product.ts'

const at = new Date('2026-01-31T12:00:00Z')
const later = new Date('2026-01-31T12:00:05Z')
const paymentId = '0198c0de-0000-7000-8000-000000000003'

const tea = createProduct({ sku: 'TEA', name: 'Tea', price: { amount: 450, currency: 'EUR' } })
const cup = createProduct({ sku: 'CUP', name: 'Cup', price: { amount: 1_200, currency: 'EUR' } })
const pie = createProduct({ sku: 'PIE', name: 'Pie', price: { amount: 300, currency: 'USD' } })
const products = new Map([tea, cup, pie].map((product) => [product.sku, product]))

const lines: Line[] = [
  { sku: 'TEA', name: 'Tea', quantity: 2, price: tea.price },
  { sku: 'CUP', name: 'Cup', quantity: 1, price: cup.price },
]

const pending: PendingOrder = {
  id: '0198c0de-0000-7000-8000-000000000001',
  userId: '0198c0de-0000-7000-8000-000000000002',
  checkoutId: null,
  lines,
  total: { amount: 2_100, currency: 'EUR' },
  status: 'pending',
  reason: null,
  paymentId: null,
  confirmedAt: null,
  version: 1,
  createdAt: at,
}
const confirmed = confirm(pending, paymentId, later)

const line = fc.record({ sku: fc.constantFrom('TEA', 'CUP', 'PIE'), quantity: fc.integer({ min: 1, max: 1_000 }) })

describe('wanted lines', () => {
  test('of one product become one line, where it was named first', () => {
    expect(
      mergeLines([
        { sku: 'TEA', quantity: 1 },
        { sku: 'CUP', quantity: 2 },
        { sku: 'TEA', quantity: 3 },
      ]),
    ).toEqual([
      { sku: 'TEA', quantity: 4 },
      { sku: 'CUP', quantity: 2 },
    ])
  })

  test('keep every piece when they are merged, and name no product twice', () => {
    fc.assert(
      fc.property(fc.array(line), (wanted) => {
        const merged = mergeLines(wanted)
        for (const sku of products.keys()) expect(piecesOf(merged, sku)).toBe(piecesOf(wanted, sku))
        expect(new Set(merged.map(({ sku }) => sku)).size).toBe(merged.length)
        expect(mergeLines(merged)).toEqual(merged)
      }),
    )
  })

  test("are priced at the products' own names and prices", () => {
    const wanted = [
      { sku: 'TEA', quantity: 2 },
      { sku: 'CUP', quantity: 1 },
    ]
    expect(priceLines(wanted, products)).toEqual(lines)
  })

  test('are refused with unknown-sku when one names no product', () => {
    const wanted = [
      { sku: 'TEA', quantity: 1 },
      { sku: 'JAM', quantity: 1 },
    ]
    expect(() => priceLines(wanted, products)).toThrow(DomainError)
    expect(() => priceLines(wanted, products)).toThrow(expect.objectContaining({ code: 'unknown-sku' }))
  })

  test('are refused with mixed-currencies when their prices have several', () => {
    const wanted = [
      { sku: 'TEA', quantity: 1 },
      { sku: 'PIE', quantity: 1 },
    ]
    expect(() => priceLines(wanted, products)).toThrow(DomainError)
    expect(() => priceLines(wanted, products)).toThrow(expect.objectContaining({ code: 'mixed-currencies' }))
  })
})

describe('the total', () => {
  test('is the sum of the prices of all pieces, in their currency', () => {
    expect(totalOf(lines)).toEqual({ amount: 2_100, currency: 'EUR' })
  })

  test('is exact, or refused with too-expensive', () => {
    const amount = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
    const prices = fc.array(fc.tuple(amount, fc.integer({ min: 1, max: 1_000 })), { minLength: 1 })
    fc.assert(
      fc.property(prices, (prices) => {
        const dear = prices.map(([amount, quantity]): Line => ({ ...dearest, quantity, price: { ...euro, amount } }))
        const exact = prices.reduce((sum, [amount, quantity]) => sum + BigInt(amount) * BigInt(quantity), 0n)
        if (exact <= Number.MAX_SAFE_INTEGER) expect(BigInt(totalOf(dear).amount)).toBe(exact)
        else expect(() => totalOf(dear)).toThrow(expect.objectContaining({ code: 'too-expensive' }))
      }),
    )
  })

  test('may be the largest integer that is exact, and not one more', () => {
    const largest: Line = { ...dearest, price: { ...euro, amount: Number.MAX_SAFE_INTEGER } }
    const cent: Line = { ...dearest, price: { ...euro, amount: 1 } }
    expect(totalOf([largest])).toEqual({ amount: Number.MAX_SAFE_INTEGER, currency: 'EUR' })
    expect(() => totalOf([largest, cent])).toThrow(DomainError)
  })
})

describe('an order that is placed', () => {
  test('is pending, of version 1, at the total of its lines', () => {
    const { id, userId } = pending
    expect(place({ id, userId, checkoutId: null, lines, at })).toEqual(pending)
  })

  test('remembers the checkout that it belongs to', () => {
    const { id, userId } = pending
    expect(place({ id, userId, checkoutId: 'a checkout', lines, at }).checkoutId).toBe('a checkout')
  })
})

test('confirming keeps the order, and adds the payment and the time', () => {
  expect(confirmed).toEqual({ ...pending, status: 'confirmed', paymentId, confirmedAt: later, version: 2 })
})

describe('cancelling', () => {
  const reasons: CancelReason[] = ['requested', 'declined', 'refunded', 'user-closed', 'timed-out', 'checkout-failed']

  test('gives the reason, whichever it is', () => {
    for (const reason of reasons) {
      expect(cancel(pending, reason)).toEqual({ ...pending, status: 'cancelled', reason, version: 2 })
    }
  })

  test('keeps the payment of a confirmed order, which is to be refunded', () => {
    expect(cancel(confirmed, 'requested')).toEqual({
      ...confirmed,
      status: 'cancelled',
      reason: 'requested',
      version: 3,
    })
  })

  test('is refused with already-cancelled the second time, so that the stock comes back once', () => {
    for (const order of [pending, confirmed] satisfies Order[]) {
      const cancelled = cancel(order, 'requested')
      expect(() => cancel(cancelled, 'refunded')).toThrow(DomainError)
      expect(() => cancel(cancelled, 'refunded')).toThrow(expect.objectContaining({ code: 'already-cancelled' }))
    }
  })
})

test('a decision leaves the order that it was made on as it was', () => {
  const before = structuredClone([pending, confirmed])
  confirm(pending, paymentId, later)
  cancel(pending, 'requested')
  cancel(confirmed, 'requested')
  expect([pending, confirmed] satisfies Order[]).toEqual(before)
})

const euro = { amount: 1, currency: 'EUR' }
const dearest: Line = { sku: 'TEA', name: 'Tea', quantity: 1, price: euro }

const piecesOf = (lines: { sku: string; quantity: number }[], wanted: string): number =>
  lines.filter(({ sku }) => sku === wanted).reduce((sum, { quantity }) => sum + quantity, 0)
