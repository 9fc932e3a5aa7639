import { DomainError } from '#platform/errors'
import { type AtStep, type LocalStep, type Saga, createSaga } from '#platform/saga/saga'
import { chargePayment, refundPayment } from '#events/payments'
import { cancelled } from '../cancelled.ts'
import { type CheckoutData, checkoutDefinition } from '../checkout.ts'
import { checkoutChanged, orderConfirmed, orderCreated } from '../events.ts'
import { type CancelledOrder, type Order, cancel, confirm, place, priceLines, skusOf } from '../order.ts'
import {
  insertOrders,
  lockOrders,
  lockProducts,
  reserveLines,
  returnStock,
  updateOrders,
  updateStock,
} from '../repository.ts'

export type Checkouts = Saga<'orders', CheckoutData>

type Step = LocalStep<'orders', CheckoutData>
type Reached = AtStep<'orders', CheckoutData>
type Parts = { flowDeadlineMs: number; now: () => Date }

const reserveStock: Step = {
  run: async (tx, checkouts) => {
    const held = await lockProducts(tx, skusOf(checkouts.map(({ data }) => data)))
    const learned = checkouts.map(({ data: { wanted } }) => {
      const lines = priceLines(wanted, held)
      for (const product of reserveLines(held, wanted)) held.set(product.sku, product)
      return { lines, stockHeld: true }
    })
    await updateStock(tx, [...held.values()])
    return learned
  },
  undo: async (tx, checkouts) => {
    await returnStock(
      tx,
      checkouts.filter(({ data }) => data.stockHeld).map(({ data }) => data),
    )
    return checkouts.map(() => ({ stockHeld: false }))
  },
}

const createOrder = (now: () => Date): Step => ({
  run: async (tx, checkouts) => {
    const at = now()
    const orders = checkouts.map(({ id, data: { orderId, userId, lines } }) =>
      place({ id: orderId, userId, checkoutId: id, lines, at }),
    )
    await insertOrders(tx, orders)
    return checkouts.map(({ id, data, emit }, index) => {
      const order = orders[index]
      if (!order) return {}
      const { total, userId, version } = order
      emit(orderCreated(order.id, version, { orderId: order.id, userId, ...total, lines: data.wanted, checkoutId: id }))
      return { total }
    })
  },
  undo: async (tx, checkouts) => {
    const held = await lockOrders(tx, orderIds(checkouts))
    const ended: CancelledOrder[] = []
    const learned = checkouts.map(({ data: { orderId, stockHeld }, emit }) => {
      const order = held.get(orderId)
      // Whoever cancelled it before has given the stock back.
      if (order?.status === 'cancelled') return { stockHeld: false }
      if (!order) return { stockHeld }
      const undone = cancel(order, 'checkout-failed')
      ended.push(undone)
      emit(cancelled(undone))
      return { stockHeld }
    })
    await updateOrders(tx, ended)
    return learned
  },
})

const confirmOrder = (now: () => Date): Step => ({
  run: async (tx, checkouts) => {
    const held = await lockOrders(tx, orderIds(checkouts))
    const at = now()
    const confirmed = checkouts.map(({ data: { orderId, paymentId }, emit }) => {
      const order: Order | undefined = held.get(orderId)
      if (order?.status !== 'pending' || paymentId === null) {
        throw new DomainError('order-not-pending', `The order ${orderId} is ${order?.status ?? 'gone'}.`)
      }
      const next = confirm(order, paymentId, at)
      emit(orderConfirmed(orderId, next.version, { orderId, paymentId }))
      return next
    })
    await updateOrders(tx, confirmed)
  },
})

const orderIds = (checkouts: Reached[]): string[] => checkouts.map(({ data: { orderId } }) => orderId)

const asked = ({ orderId, userId, total }: CheckoutData) => {
  if (!total) throw new Error(`The checkout of the order ${orderId} has no total yet.`)
  return { orderId, userId, ...total }
}

/** The orchestrated way to buy. */
export const createCheckouts = ({ flowDeadlineMs, now }: Parts): Checkouts =>
  createSaga<'orders', CheckoutData>({
    definition: checkoutDefinition(flowDeadlineMs),
    local: {
      'reserve-stock': reserveStock,
      'create-order': createOrder(now),
      'confirm-order': confirmOrder(now),
    },
    commands: {
      'charge-payment': {
        send: ({ data }) =>
          chargePayment(data.orderId, data.orderId, { ...asked(data), paymentToken: data.paymentToken }),
        undo: ({ data }) => refundPayment(data.orderId, data.orderId, asked(data)),
      },
    },
    changed: ({ id, version, state: { status, data } }) =>
      checkoutChanged(id, version, {
        checkoutId: id,
        status,
        // Stock that came back without an order's event.
        skus: status === 'compensated' ? data.wanted.map(({ sku }) => sku) : [],
      }),
  })
