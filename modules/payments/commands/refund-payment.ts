import { DomainError } from '#platform/errors'
import { askRefund } from '../ask-refund.ts'
import type { Context } from '../context.ts'
import { lockPayments, paymentNotFound } from '../repository.ts'
import { type PaymentSnapshot, toPaymentSnapshot } from '../snapshot.ts'

/** Sends the money back; its order is cancelled when it has gone. @throws DomainError `payment-not-found`, `not-refundable` */
export const refundPayment = (context: Context, { id }: { id: string }): Promise<PaymentSnapshot> =>
  context.transact(async (tx) => {
    const payment = (await lockPayments(tx, [id])).get(id)
    if (!payment) throw paymentNotFound()
    if (payment.status !== 'captured' || payment.refundAsked) {
      throw new DomainError(
        'not-refundable',
        'Only a payment that was captured, and is not on its way back, can be refunded.',
      )
    }
    await askRefund(tx, payment, context.trace)
    return toPaymentSnapshot(payment)
  })
