import { describe, expect, test } from 'bun:test'
import type { Input } from '#platform/saga/definition'
import { asks, done, failed, started, storyOf, timeout, undoFailed, undone } from '../../src/test/saga-story.ts'
import { type CheckoutData, checkoutDefinition, newCheckout } from './checkout.ts'

const flowDeadlineMs = 30_000

const known = {
  userId: '0198c0de-0000-7000-8000-000000000001',
  orderId: '0198c0de-0000-7000-8000-000000000002',
  paymentToken: 'tok_visa',
  wanted: [{ sku: 'TEA', quantity: 2 }],
}
const lines = [{ sku: 'TEA', name: 'Tea', quantity: 2, price: { amount: 450, currency: 'EUR' } }]
const total = { amount: 900, currency: 'EUR' }
const paymentId = '0198c0de-0000-7000-8000-000000000003'

const { given } = storyOf<CheckoutData>(checkoutDefinition(flowDeadlineMs), newCheckout(known))

const reserved = done<CheckoutData>('reserve-stock', { lines, stockHeld: true })
const created = done<CheckoutData>('create-order', { total })
const captured = done<CheckoutData>('charge-payment', { paymentId })
const refunded = undone<CheckoutData>('charge-payment', { paymentId })
const declined = failed('charge-payment', 'payment-declined')
const cancelled = undone<CheckoutData>('create-order', { stockHeld: true })
const stockReturned = undone<CheckoutData>('reserve-stock', { stockHeld: false })

const charging: Input<CheckoutData>[] = [started, reserved, created]
const unanswered = [...charging, timeout('step', 'charge-payment', 1), timeout('step', 'charge-payment', 2)]
const compensatedSteps = { 'reserve-stock': 'compensated', 'create-order': 'compensated' }

test('a checkout reserves, creates, charges and confirms, in this order, and is completed', () => {
  expect(given().when(started, reserved, created, captured, done('confirm-order'))).toMatchObject({
    status: 'completed',
    error: null,
    does: ['run reserve-stock 1', 'run create-order 1', 'send charge-payment 1', 'run confirm-order 1'],
    waits: null,
    data: { ...known, lines, total, stockHeld: true, paymentId },
  })
})

test('a checkout knows nothing but what was wanted when it begins', () => {
  expect(given().when().data).toEqual({ ...known, lines: [], total: null, stockHeld: false, paymentId: null })
})

describe('a checkout that fails ends with the error of the step that failed', () => {
  test('when there is not enough stock, nothing was done and nothing is undone', () => {
    expect(given(started).when(failed('reserve-stock', 'out-of-stock'))).toMatchObject({
      status: 'compensated',
      error: 'out-of-stock',
      does: [],
      data: { stockHeld: false },
    })
  })

  test('when the order cannot be created, the stock is given back', () => {
    expect(given(started, reserved).when(failed('create-order', 'too-expensive'), stockReturned)).toMatchObject({
      status: 'compensated',
      error: 'too-expensive',
      does: ['undo reserve-stock 1'],
      data: { stockHeld: false },
    })
  })

  test('when the payment is declined, the order is cancelled, then the stock is given back; no refund is asked', () => {
    expect(given(...charging).when(declined, cancelled, stockReturned)).toMatchObject({
      status: 'compensated',
      error: 'payment-declined',
      does: ['undo create-order 1', 'undo reserve-stock 1'],
      waits: null,
      steps: { ...compensatedSteps, 'charge-payment': 'failed', 'confirm-order': 'pending' },
    })
  })

  test('when the order cannot be confirmed, the payment is refunded before the order is cancelled', () => {
    const unconfirmed = given(...charging, captured)
    expect(unconfirmed.when(failed('confirm-order', 'order-not-pending'))).toMatchObject({
      does: ['send-undo charge-payment 1'],
      waits: 'undo charge-payment 1 in 15000 ms',
    })
    expect(
      unconfirmed.when(failed('confirm-order', 'order-not-pending'), refunded, cancelled, stockReturned),
    ).toMatchObject({
      status: 'compensated',
      error: 'order-not-pending',
      does: ['send-undo charge-payment 1', 'undo create-order 1', 'undo reserve-stock 1'],
      steps: { ...compensatedSteps, 'charge-payment': 'compensated', 'confirm-order': 'failed' },
    })
  })
})

describe('a charge that is not answered', () => {
  test('is asked for once more, and given up when the deadline of the flow has come', () => {
    expect(given(...charging).when()).toMatchObject({ waits: 'step charge-payment 1 in 15000 ms' })
    expect(given(...charging).when(timeout('step', 'charge-payment', 1))).toMatchObject({
      status: 'running',
      does: ['send charge-payment 2'],
      waits: 'step charge-payment 2 in 15000 ms',
    })
    expect(given(...unanswered).when()).toMatchObject({ status: 'compensating', error: 'timeout' })
  })

  test('is refunded as if it had happened', () => {
    const { status, does, steps } = given(...charging).when(...unanswered.slice(charging.length))
    expect({ status, does }).toEqual({
      status: 'compensating',
      does: ['send charge-payment 2', 'send-undo charge-payment 1'],
    })
    expect(steps).toMatchObject({ 'charge-payment': 'unknown', 'create-order': 'done', 'reserve-stock': 'done' })
  })

  test('keeps the order and the stock until payments has said that no money stays taken', () => {
    expect(given(...unanswered).when(captured).does).toEqual([])
    for (const answer of [refunded, declined]) {
      expect(given(...unanswered).when(answer, cancelled, stockReturned)).toMatchObject({
        status: 'compensated',
        error: 'timeout',
        does: ['undo create-order 1', 'undo reserve-stock 1'],
        waits: null,
      })
    }
  })

  test('and whose capture comes after all is refunded, not confirmed', () => {
    expect(given(...unanswered).when(captured, refunded, cancelled, stockReturned)).toMatchObject({
      status: 'compensated',
      error: 'timeout',
      does: ['undo create-order 1', 'undo reserve-stock 1'],
      data: { paymentId },
    })
  })

  test('has its refund asked for eleven times before an operator is', () => {
    const asking = Array.from({ length: 10 }, (_, index) => timeout('undo', 'charge-payment', index + 1))
    expect(given(...unanswered).when(...asking)).toMatchObject({
      status: 'compensating',
      does: asking.map((_, index) => `send-undo charge-payment ${index + 2}`),
      waits: 'undo charge-payment 11 in 60000 ms',
    })
    expect(given(...unanswered, ...asking).when(timeout('undo', 'charge-payment', 11))).toMatchObject({
      status: 'needs-operator',
      does: [],
      waits: null,
    })
  })
})

describe('a checkout whose order somebody else cancels, with its stock,', () => {
  const elsewhere = undone<CheckoutData>('create-order', { stockHeld: false })

  test('has the charge refunded, and knows that it holds no stock to give back', () => {
    expect(given(...charging).when(elsewhere, refunded)).toMatchObject({
      status: 'compensating',
      error: 'undone-elsewhere',
      does: ['send-undo charge-payment 1', 'undo reserve-stock 1'],
      data: { stockHeld: false },
    })
  })

  test('does not cancel it again', () => {
    const steps = given(...unanswered).when(elsewhere, refunded)
    expect(steps.does).toEqual(['undo reserve-stock 1'])
    expect(steps.data.stockHeld).toBe(false)
  })

  test('after it was completed, stays completed', () => {
    expect(given(...charging, captured, done('confirm-order')).when(elsewhere, refunded).absorbed).toBe(true)
  })
})

test('a stock that cannot be given back is tried again after a growing rest, at most a minute', () => {
  const compensating = [...charging, declined, cancelled]
  const rests: (string | null)[] = []
  for (let attempt = 1; attempt <= 10; attempt += 1) {
    compensating.push(undoFailed('reserve-stock', 'fault'))
    rests.push(given(...compensating).when().waits)
    compensating.push(timeout('undo', 'reserve-stock', attempt))
  }
  const seconds = [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
  expect(rests).toEqual(seconds.map((rest, index) => `undo reserve-stock ${index + 1} in ${rest * 1000} ms`))
  expect(given(...compensating).when(undoFailed('reserve-stock', 'fault'))).toMatchObject({ status: 'needs-operator' })
})

test('a checkout that an operator stops while it is being charged has the charge refunded first', () => {
  expect(given(...charging).when(asks('compensate'), declined, cancelled, stockReturned)).toMatchObject({
    status: 'compensated',
    error: 'stopped-by-operator',
    does: ['send-undo charge-payment 1', 'undo create-order 1', 'undo reserve-stock 1'],
  })
})
