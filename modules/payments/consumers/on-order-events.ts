import { type ConsumerDefinition, onBatch } from '#platform/messaging/consumer'
import type { Received } from '#platform/messaging/message'
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
    onBatch([orderCancelled], async ({ tx }, messages) => {
      const orderIdOf = ({ data }: Received) => (data as { orderId: string }).orderId
      // All at once, in one order: others lock several payments too.
      const held = await lockPaymentsOf(tx, messages.map(orderIdOf))
      for (const message of messages) {
        const payment = held.get(orderIdOf(message))
        if (payment) await askRefund(tx, payment, parts.now(), message.trace)
        else await rememberCancelled(tx, orderIdOf(message))
      }
    }),
  ],
})
