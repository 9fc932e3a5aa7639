import { type ConsumerDefinition, onBatch } from '#platform/messaging/consumer'
import type { Received } from '#platform/messaging/message'
import { orderCancelled, orderEvents, orderRestated, orderStarted } from '#events/orders'
import { askRefund } from '../ask-refund.ts'
import { lockPaymentsOf, rememberCancelled } from '../repository.ts'
import { requestCharges } from '../request-charges.ts'

type Parts = { newId: () => string; now: () => Date }

const isCancelled = ({ type, data }: Received): boolean =>
  type === orderCancelled.type || (data as { status?: string }).status === 'cancelled'

/**
 * Choreography: a started order is charged, a cancelled one gets its money back, and is not charged late. A restatement asks for
 * no charge, and counts as the cancellation when the order is cancelled.
 */
export const onOrderEvents = (parts: Parts): ConsumerDefinition<'payments'> => ({
  topic: orderEvents,
  handlers: [
    onBatch([orderStarted], (context, messages) =>
      requestCharges(context, messages, { ...parts, unlessCancelled: true }),
    ),
    onBatch([orderCancelled, orderRestated], async ({ tx }, received) => {
      const messages = received.filter(isCancelled)
      if (messages.length === 0) return
      const orderIdOf = ({ data }: Received) => (data as { orderId: string }).orderId
      // All at once, in one order: others lock several payments too.
      const held = await lockPaymentsOf(tx, messages.map(orderIdOf))
      for (const message of messages) {
        const payment = held.get(orderIdOf(message))
        if (payment) await askRefund(tx, payment, message.trace)
        else await rememberCancelled(tx, orderIdOf(message))
      }
    }),
  ],
})
