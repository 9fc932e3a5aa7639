import { type ConsumerDefinition, onBatch, onEach } from '#platform/messaging/consumer'
import { orderCancelled, orderEvents, orderStarted } from '#events/orders'
import { askRefund } from '../ask-refund.ts'
import { lockPaymentsOf, rememberCancelled } from '../repository.ts'
import { requestCharges } from '../request-charges.ts'

type Parts = { newId: () => string; now: () => Date }

/** Choreography: a started order is charged, a cancelled one gets its money back, and is not charged late. */
export const onOrderEvents = (parts: Parts): ConsumerDefinition<'payments'> => ({
  topic: orderEvents,
  handlers: [
    onBatch([orderStarted], (context, messages) =>
      requestCharges(context, messages, { ...parts, unlessCancelled: true }),
    ),
    onEach(orderCancelled, async ({ tx }, { data: { orderId }, trace }) => {
      const payment = (await lockPaymentsOf(tx, [orderId])).get(orderId)
      if (payment) await askRefund(tx, payment, parts.now(), trace)
      else await rememberCancelled(tx, orderId)
    }),
  ],
})
