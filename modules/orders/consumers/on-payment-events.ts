import { type ConsumerDefinition, onBatch } from '#platform/messaging/consumer'
import { cancelTimers } from '#platform/timers'
import { paymentCaptured, paymentDeclined, paymentEvents, paymentRefunded } from '#events/payments'
import { cancelled } from '../cancelled.ts'
import { orderConfirmed } from '../events.ts'
import { type CancelledOrder, type Order, cancel, confirm } from '../order.ts'
import { lockOrders, returnStock, updateOrders } from '../repository.ts'
import { orderDeadlineKind } from '../timers/order-deadline.ts'

type Payment = { orderId: string; paymentId: string }

/** What an order becomes when its payment does; the same order when it need not change. */
const settle = (order: Order, type: string, paymentId: string, at: Date): Order => {
  switch (type) {
    case paymentCaptured.type:
      // Money that comes for a cancelled order goes back: payments hears of the cancellation itself.
      return order.status === 'pending' ? confirm(order, paymentId, at) : order
    case paymentDeclined.type:
      return order.status === 'pending' ? cancel(order, 'declined') : order
    case paymentRefunded.type:
      return order.status === 'cancelled' ? order : cancel(order, 'refunded')
    default:
      return order
  }
}

/** Choreography: a captured payment confirms its order, a declined or refunded one cancels it and gives the stock back. */
export const onPaymentEvents = (now: () => Date): ConsumerDefinition<'orders'> => ({
  topic: paymentEvents,
  handlers: [
    onBatch([paymentCaptured, paymentDeclined, paymentRefunded], async ({ tx, emitFor }, messages) => {
      const held = await lockOrders(tx, [...new Set(messages.map(({ data }) => (data as Payment).orderId))])
      const changed = new Map<string, Order>()
      const ended: CancelledOrder[] = []
      for (const message of messages) {
        const { orderId, paymentId } = message.data as Payment
        const order = held.get(orderId)
        if (!order || order.checkoutId !== null) continue
        const settled = settle(order, message.type, paymentId, now())
        if (settled === order) continue
        held.set(orderId, settled)
        changed.set(orderId, settled)
        if (settled.status === 'confirmed')
          emitFor(message)(orderConfirmed(orderId, settled.version, { orderId, paymentId }))
        if (settled.status === 'cancelled') {
          ended.push(settled)
          emitFor(message)(cancelled(settled))
        }
      }
      await Promise.all([
        updateOrders(tx, [...changed.values()]),
        cancelTimers(tx, orderDeadlineKind, [...changed.keys()]),
        returnStock(tx, ended),
      ])
    }),
  ],
})
