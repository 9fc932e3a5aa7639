import { paymentCaptured, paymentDeclined, paymentRefunded, paymentRequested } from './events.ts'
import type { CapturedPayment, DeclinedPayment, PendingPayment, RefundedPayment } from './payment.ts'

/** The events that say what became of a payment. */

export const requested = ({ id, orderId, version }: PendingPayment) =>
  paymentRequested(id, version, { paymentId: id, orderId })

export const captured = ({ id, orderId, version, amount }: CapturedPayment) =>
  paymentCaptured(id, version, { paymentId: id, orderId, ...amount })

export const declined = ({ id, orderId, version }: DeclinedPayment, reason: string) =>
  paymentDeclined(id, version, { paymentId: id, orderId, reason })

export const refunded = ({ id, orderId, version, amount }: RefundedPayment) =>
  paymentRefunded(id, version, { paymentId: id, orderId, ...amount })
