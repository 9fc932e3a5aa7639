import { z } from 'zod'
import { onCall } from '#platform/calls'
import type { Trace } from '#platform/messaging/message'
import { money } from '#platform/money'
import { type NewTimer, setTimers } from '#platform/timers'
import { captured, declined } from '../announce.ts'
import { type CapturedPayment, type Payment, type PendingPayment, capture, decline } from '../payment.ts'
import type { ChargeOutcome, Provider } from '../provider.ts'
import { lockPayments, updatePayments } from '../repository.ts'
import { refundTimer } from './refund.ts'

const kind = 'charge'

const data = z.object({ paymentId: z.uuid(), token: z.string(), amount: money })

export const chargeTimer = ({ id, token, amount }: PendingPayment, trace: Trace): NewTimer => ({
  kind,
  key: id,
  inMs: 0,
  data: { paymentId: id, token, amount },
  trace,
})

/** Asks the provider for the money; the payment's own id is the key under which a repeat finds the first charge. */
export const charge = (provider: Provider) =>
  onCall<'payments', z.infer<typeof data>, ChargeOutcome>({
    kind,
    data,
    call: ({ data: { paymentId, token, amount }, trace }, signal) =>
      provider.charge({ paymentId, token, amount, trace, signal }),
    record: async ({ tx, emitFor }, finished) => {
      const held = await lockPayments(
        tx,
        finished.map(({ timer }) => timer.data.paymentId),
      )
      const changed: Payment[] = []
      const refunds: NewTimer[] = []
      for (const { timer, outcome } of finished) {
        const payment = held.get(timer.data.paymentId)
        if (payment?.status !== 'pending') continue
        const emit = emitFor(timer)
        if (outcome.kind === 'declined') {
          const ended = decline(payment)
          changed.push(ended)
          emit(declined(ended, outcome.reason))
        } else {
          const taken: CapturedPayment = capture(payment, outcome.chargeId, outcome.at)
          changed.push(taken)
          emit(captured(taken))
          if (taken.refundAsked) refunds.push(refundTimer(taken, timer.trace))
        }
      }
      await updatePayments(tx, changed)
      await setTimers(tx, refunds)
    },
  })
