import { type ConsumerDefinition, onBatch, onEach } from '#platform/messaging/consumer'
import { declined, refunded } from '../announce.ts'
import { askRefund } from '../ask-refund.ts'
import { chargePayment, paymentCommands, refundPayment } from '../events.ts'
import { forbid } from '../payment.ts'
import { insertPayments, lockPaymentsOf, updatePayments } from '../repository.ts'
import { requestCharges } from '../request-charges.ts'

type Parts = { newId: () => string; now: () => Date }

/** What an orchestrator asks for: a charge, or that no money stays taken. */
export const onPaymentCommands = (parts: Parts): ConsumerDefinition<'payments'> => ({
  topic: paymentCommands,
  handlers: [
    onBatch([chargePayment], (context, messages) => requestCharges(context, messages, parts)),
    onEach<'payments', RefundAsked>(refundPayment, async ({ tx, emit }, { data, trace }) => {
      const { orderId, userId, amount, currency } = data
      const at = parts.now()
      const never = forbid({ id: parts.newId(), orderId, userId, amount: { amount, currency }, token: '', at })
      for (const payment of await insertPayments(tx, [never])) return emit(declined(payment, 'never-charged'))
      const payment = (await lockPaymentsOf(tx, [orderId])).get(orderId)
      if (!payment) throw new Error(`The payment of the order ${orderId} is neither new nor there.`)
      if (payment.status === 'pending' || payment.status === 'captured') return askRefund(tx, payment, trace)
      // Who asks waits for an answer, and the first one may have been given to an earlier question.
      const again = { ...payment, version: payment.version + 1 }
      await updatePayments(tx, [again])
      emit(again.status === 'declined' ? declined(again, 'never-charged') : refunded(again))
    }),
  ],
})

type RefundAsked = { orderId: string; userId: string; amount: number; currency: string }
