import { orderCancelled } from './events.ts'
import type { CancelledOrder } from './order.ts'

/** The event of a cancellation, whatever its reason. */
export const cancelled = ({ id, version, reason, lines }: CancelledOrder) =>
  orderCancelled(id, version, { orderId: id, reason, lines: lines.map(({ sku, quantity }) => ({ sku, quantity })) })
