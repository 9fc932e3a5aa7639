import type { Trace } from '#platform/messaging/message'
import type { Tx } from '#platform/postgres'
import { setTimer } from '#platform/timers'
import { refundTimer } from './calls/refund.ts'
import type { Payment } from './payment.ts'
import { updatePayments } from './repository.ts'

/**
 * Puts on record that the money must go back: the refund becomes due at once when it was captured, or as soon as a capture
 * that is under way turns out. A payment without money taken, or that is going back already, is left as it is.
 */
export const askRefund = async (tx: Tx, payment: Payment, trace: Trace): Promise<void> => {
  if (payment.refundAsked || payment.status === 'declined' || payment.status === 'refunded') return
  await updatePayments(tx, [{ ...payment, refundAsked: true }])
  if (payment.status === 'captured') await setTimer(tx, refundTimer(payment, trace))
}
