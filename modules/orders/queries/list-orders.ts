import type { Context } from '../context.ts'
import { type OrderSnapshot, allOrders, decodeOrder, ordersOf } from '../snapshot.ts'

/** `next` is the id that the next page comes before, undefined on the last one. */
export type OrderPage = { items: OrderSnapshot[]; next: string | undefined }

/** The orders of a user, or of all, newest first, from the one before `before`; two round trips, however many. */
export const listOrders = async (
  { snapshots }: Pick<Context, 'snapshots'>,
  { userId, before, limit }: { userId: string | undefined; before?: string | undefined; limit: number },
): Promise<OrderPage> => {
  const list = userId === undefined ? allOrders : ordersOf(userId)
  const { stored, next } = await snapshots.list('order', list, { before, limit })
  return { items: stored.map(decodeOrder), next }
}
