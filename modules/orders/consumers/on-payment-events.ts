import { type ConsumerDefinition, onBatch } from '#platform/messaging/consumer'
import type { Received } from '#platform/messaging/message'
import type { Tx } from '#platform/postgres'
import { cancelTimers } from '#platform/timers'
import { paymentCaptured, paymentDeclined, paymentEvents, paymentRefunded, paymentRestated } from '#events/payments'
import type { Outcome } from '#platform/saga/definition'
import { cancelled } from '../cancelled.ts'
import type { CheckoutData } from '../checkout.ts'
import { orderConfirmed } from '../events.ts'
import { type CancelledOrder, type Order, cancel, confirm } from '../order.ts'
import { lockOrders, lockProducts, returnStock, updateOrders } from '../repository.ts'
import type { Checkouts } from '../sagas/checkout.ts'
import { orderDeadlineKind } from '../timers/order-deadline.ts'

type Payment = { orderId: string; paymentId: string; reason?: string; status?: 'pending' | Ended }

/** What became of a payment. */
type Ended = 'captured' | 'declined' | 'refunded'

const endings: Record<string, Ended> = {
  [paymentCaptured.type]: 'captured',
  [paymentDeclined.type]: 'declined',
  [paymentRefunded.type]: 'refunded',
}

/** What a payment's event says became of it; undefined while that is open. */
const endingOf = ({ type, data }: Received): Ended | undefined => {
  const { status } = data as Payment
  return endings[type] ?? (status === 'pending' ? undefined : status)
}

/** What that says of the charge of a checkout. */
const outcomeOf = (ending: Ended, { paymentId, reason = 'declined' }: Payment): Outcome<CheckoutData> => {
  switch (ending) {
    case 'captured':
      return { is: 'done', data: { paymentId } }
    case 'declined':
      return { is: 'failed', error: { code: 'payment-declined', message: `The payment was declined: ${reason}.` } }
    case 'refunded':
      return { is: 'undone', data: { paymentId } }
  }
}

/** What an order becomes when its payment does; the same order when it need not change. */
const settle = (order: Order, ending: Ended, paymentId: string, at: Date): Order => {
  // What happens before its end is the checkout's to decide.
  if (order.checkoutId !== null && order.status === 'pending') return order
  switch (ending) {
    case 'captured':
      // Money that comes for a cancelled order goes back: payments hears of the cancellation itself.
      return order.status === 'pending' ? confirm(order, paymentId, at) : order
    case 'declined':
      return order.status === 'pending' ? { ...cancel(order, 'declined'), paymentId } : order
    case 'refunded':
      return order.status === 'cancelled' ? order : cancel(order, 'refunded')
  }
}

const orderIdsOf = (messages: Received[]): string[] => [
  ...new Set(messages.map(({ data }) => (data as Payment).orderId)),
]

/**
 * Locks every order of these messages, and then every product that may get stock back: each transaction takes sagas, orders
 * and products in this order, and each kind in the order of its ids, so that no two wait for each other.
 */
const lockAhead = async (tx: Tx, messages: Received[]): Promise<void> => {
  const held = await lockOrders(tx, orderIdsOf(messages))
  const ending = messages.filter((message) => endingOf(message) !== 'captured')
  const skus = orderIdsOf(ending).flatMap((id) => held.get(id)?.lines.map(({ sku }) => sku) ?? [])
  if (skus.length > 0) await lockProducts(tx, [...new Set(skus)])
}

type Parts = { now: () => Date; checkouts: Checkouts }

/**
 * Choreography: a captured payment confirms its order, a declined or refunded one cancels it and gives the stock back.
 * Orchestration: the same events answer the checkout that asked for the charge, or for its refund. A restatement counts as the
 * event that it stands for.
 */
export const onPaymentEvents = ({ now, checkouts }: Parts): ConsumerDefinition<'orders'> => ({
  topic: paymentEvents,
  handlers: [
    onBatch([paymentCaptured, paymentDeclined, paymentRefunded, paymentRestated], async (context, received) => {
      const { tx, transaction, emitFor } = context
      const messages = received.filter((message) => endingOf(message) !== undefined)
      await checkouts.hear(
        { transaction, now: now(), locked: () => lockAhead(tx, messages) },
        messages.flatMap((message) => {
          const data = message.data as Payment
          const ending = endingOf(message)
          if (!ending) return []
          const { trace } = message
          const outcome = outcomeOf(ending, data)
          return [{ key: data.orderId, step: 'charge-payment', outcome, trace, emit: emitFor(message) }]
        }),
      )
      const held = await lockOrders(tx, orderIdsOf(messages))
      const changed = new Map<string, Order>()
      const ended: CancelledOrder[] = []
      for (const message of messages) {
        const { orderId, paymentId } = message.data as Payment
        const order = held.get(orderId)
        const ending = endingOf(message)
        if (!order || !ending) continue
        const settled = settle(order, ending, paymentId, now())
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
