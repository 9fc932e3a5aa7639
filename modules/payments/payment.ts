import type { Money } from '#platform/money'

type Requested = {
  id: string
  orderId: string
  userId: string
  amount: Money
  token: string
  refundAsked: boolean
  version: number
  createdAt: Date
}

export type PendingPayment = Requested & { status: 'pending'; chargeId: null; capturedAt: null; refundedAt: null }
export type CapturedPayment = Requested & { status: 'captured'; chargeId: string; capturedAt: Date; refundedAt: null }
export type DeclinedPayment = Requested & { status: 'declined'; chargeId: null; capturedAt: null; refundedAt: null }
export type RefundedPayment = Requested & { status: 'refunded'; chargeId: string; capturedAt: Date; refundedAt: Date }

export type Payment = PendingPayment | CapturedPayment | DeclinedPayment | RefundedPayment

export type ChargeRequest = { id: string; orderId: string; userId: string; amount: Money; token: string; at: Date }

/** The intent to charge, before the provider is asked. */
export const request = ({ id, orderId, userId, amount, token, at }: ChargeRequest): PendingPayment => ({
  id,
  orderId,
  userId,
  amount,
  token,
  refundAsked: false,
  status: 'pending',
  chargeId: null,
  capturedAt: null,
  refundedAt: null,
  version: 1,
  createdAt: at,
})

/** A payment that will never be charged: it stands in the way of a request to charge that comes late. */
export const forbid = (charge: ChargeRequest): DeclinedPayment => ({ ...request(charge), status: 'declined' })

export const capture = (payment: PendingPayment, chargeId: string, at: Date): CapturedPayment => ({
  ...payment,
  status: 'captured',
  chargeId,
  capturedAt: at,
  version: payment.version + 1,
})

export const decline = (payment: PendingPayment): DeclinedPayment => ({
  ...payment,
  status: 'declined',
  version: payment.version + 1,
})

export const refund = (payment: CapturedPayment, at: Date): RefundedPayment => ({
  ...payment,
  status: 'refunded',
  refundedAt: at,
  version: payment.version + 1,
})
