import { z } from 'zod'
import { onCall } from '#platform/calls'
import type { Trace } from '#platform/messaging/message'
import type { NewTimer } from '#platform/timers'
import { refunded } from '../announce.ts'
import { type CapturedPayment, type RefundedPayment, refund as refundOf } from '../payment.ts'
import type { Provider } from '../provider.ts'
import { lockPayments, updatePayments } from '../repository.ts'

const kind = 'refund'

const data = z.object({ paymentId: z.uuid(), chargeId: z.string(), amount: z.int().nonnegative() })

export const refundTimer = ({ id, chargeId, amount }: CapturedPayment, trace: Trace): NewTimer => ({
  kind,
  key: id,
  inMs: 0,
  data: { paymentId: id, chargeId, amount: amount.amount },
  trace,
})

/** Gives the money back; repeated until the provider has done it. */
export const refund = (provider: Provider) =>
  onCall<'payments', z.infer<typeof data>, { refundId: string; at: Date }>({
    kind,
    data,
    call: ({ data: { paymentId, chargeId, amount }, trace }, signal) =>
      provider.refund({ paymentId, chargeId, amount, trace, signal }),
    record: async ({ tx, emitFor }, finished) => {
      const held = await lockPayments(
        tx,
        finished.map(({ timer }) => timer.data.paymentId),
      )
      const changed: RefundedPayment[] = []
      for (const { timer, outcome } of finished) {
        const payment = held.get(timer.data.paymentId)
        if (payment?.status !== 'captured') continue
        const returned = refundOf(payment, outcome.at)
        changed.push(returned)
        emitFor(timer)(refunded(returned))
      }
      await updatePayments(tx, changed)
    },
  })
