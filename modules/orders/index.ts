import { paymentCommands, paymentEvents } from '#events/payments'
import { userEvents } from '#events/users'
import type { Log } from '#platform/log'
import type { Traffic } from '#platform/messaging/rights'
import type { ModuleDefinition } from '#platform/module'
import { knowUsers } from './consumers/know-users.ts'
import { onPaymentEvents } from './consumers/on-payment-events.ts'
import { projectOrders } from './consumers/project-orders.ts'
import { checkoutSnapshots } from './checkout-snapshot.ts'
import { orderEvents } from './events.ts'
import { restating } from './restate.ts'
import type { Checkouts } from './sagas/checkout.ts'
import { orderSnapshots, productSnapshots } from './snapshot.ts'
import { onOrderDeadline } from './timers/order-deadline.ts'

export type { Context } from './context.ts'
export { type OrderSnapshot, type ProductSnapshot, orderSnapshot, productSnapshot } from './snapshot.ts'
export { type CheckoutSnapshot, checkoutSnapshot } from './checkout-snapshot.ts'
export { createCheckouts } from './sagas/checkout.ts'
export { type CancelOrder, cancelOrder } from './commands/cancel-order.ts'
export { changeStock } from './commands/change-stock.ts'
export { type PlaceOrder, placeOrder } from './commands/place-order.ts'
export { startCheckout } from './commands/start-checkout.ts'
export { type SeedProduct, seedProduct } from './commands/seed-product.ts'
export { type PutProduct, putProduct } from './commands/put-product.ts'
export { checkoutNotFound, getCheckout } from './queries/get-checkout.ts'
export { listOpenCheckouts } from './queries/list-open-checkouts.ts'
export { getOrder } from './queries/get-order.ts'
export { type OrderPage, listOrders } from './queries/list-orders.ts'
export { listProducts } from './queries/list-products.ts'

/** What orders does on the broker. */
export const ordersTraffic: Traffic<'orders'> = {
  name: 'orders',
  topics: [orderEvents],
  consumes: [userEvents, paymentEvents, orderEvents],
  sends: [paymentCommands],
}

export const ordersSnapshots = (checkouts: Checkouts) => [
  orderSnapshots,
  productSnapshots,
  checkoutSnapshots(checkouts),
]

type Parts = { log: Log; now: () => Date; checkouts: Checkouts }

export const orders = ({ log, now, checkouts }: Parts): ModuleDefinition<'orders'> => ({
  ...ordersTraffic,
  snapshots: ordersSnapshots(checkouts),
  consumers: ({ snapshots }) => [
    knowUsers({ now, checkouts }),
    onPaymentEvents({ now, checkouts }),
    projectOrders(snapshots),
  ],
  timers: [onOrderDeadline(log)],
  sagas: [checkouts],
  restating: restating(checkouts),
})
