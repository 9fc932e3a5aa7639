import type { Log } from '#platform/log'
import type { ModuleDefinition } from '#platform/module'
import { knowUsers } from './consumers/know-users.ts'
import { onPaymentEvents } from './consumers/on-payment-events.ts'
import { projectOrders } from './consumers/project-orders.ts'
import { orderEvents } from './events.ts'
import { orderSnapshots, productSnapshots } from './snapshot.ts'
import { onOrderDeadline } from './timers/order-deadline.ts'

export type { Context } from './context.ts'
export { type OrderSnapshot, type ProductSnapshot, orderSnapshot, productSnapshot } from './snapshot.ts'
export { cancelOrder } from './commands/cancel-order.ts'
export { changeStock } from './commands/change-stock.ts'
export { type PlaceOrder, placeOrder } from './commands/place-order.ts'
export { type SeedProduct, seedProduct } from './commands/seed-product.ts'
export { type PutProduct, putProduct } from './commands/put-product.ts'
export { getOrder } from './queries/get-order.ts'
export { type OrderPage, listOrders } from './queries/list-orders.ts'
export { listProducts } from './queries/list-products.ts'

export const ordersTopics = [orderEvents]

export const orders = ({ log, now }: { log: Log; now: () => Date }): ModuleDefinition<'orders'> => ({
  name: 'orders',
  topics: ordersTopics,
  snapshots: [orderSnapshots, productSnapshots],
  consumers: ({ snapshots }) => [knowUsers(now), onPaymentEvents(now), projectOrders(snapshots)],
  timers: [onOrderDeadline(log)],
})
