import { expect, test } from 'bun:test'
import { type Payment, type PendingPayment, capture, decline, forbid, refund, request } from './payment.ts'

const at = new Date('2026-01-31T12:00:00Z')
const capturedAt = new Date('2026-01-31T12:00:01Z')
const refundedAt = new Date('2026-01-31T12:00:02Z')

const charge = {
  id: '0198c0de-0000-7000-8000-000000000001',
  orderId: '0198c0de-0000-7000-8000-000000000002',
  userId: '0198c0de-0000-7000-8000-000000000003',
  amount: { amount: 900, currency: 'EUR' },
  token: 'tok_visa',
}

const pending: PendingPayment = {
  ...charge,
  refundAsked: false,
  status: 'pending',
  chargeId: null,
  capturedAt: null,
  refundedAt: null,
  version: 1,
  createdAt: at,
}

const captured = capture(pending, 'ch_1', capturedAt)

test('a request is the intent to charge: pending, of version 1, and no money is taken yet', () => {
  expect(request({ ...charge, at })).toEqual(pending)
})

test('a capture keeps the intent, and adds the charge and the time of the provider', () => {
  expect(captured).toEqual({ ...pending, status: 'captured', chargeId: 'ch_1', capturedAt, version: 2 })
})

test('a declined payment has taken no money', () => {
  expect(decline(pending)).toEqual({ ...pending, status: 'declined', version: 2 })
})

test('a refund keeps the charge that it gives back', () => {
  expect(refund(captured, refundedAt)).toEqual({ ...captured, status: 'refunded', refundedAt, version: 3 })
})

test('a payment that is forbidden is declined from its first version on', () => {
  expect(forbid({ ...charge, at })).toEqual({ ...pending, status: 'declined' })
})

test('the wish for a refund survives the capture that it waits for', () => {
  const leaving = capture({ ...pending, refundAsked: true }, 'ch_1', capturedAt)
  expect(leaving.refundAsked).toBe(true)
  expect(refund(leaving, refundedAt).refundAsked).toBe(true)
})

test('a decision leaves the payment that it was made on as it was', () => {
  const before = structuredClone([pending, captured])
  decline(pending)
  capture(pending, 'ch_2', refundedAt)
  refund(captured, refundedAt)
  expect([pending, captured] satisfies Payment[]).toEqual(before)
})
