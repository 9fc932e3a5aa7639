import type { Context } from '../context.ts'
import { type OrderSnapshot, allOrders, orderSnapshot, ordersOf } from '../snapshot.ts'

export type OrderPage = { items: OrderSnapshot[]; more: boolean }

/** The orders of a user, or of all, newest first, from the one before `before`; two round trips, however many. */
export const listOrders = async (
  { snapshots }: Pick<Context, 'snapshots'>,
  { userId, before, limit }: { userId: string | undefined; before?: string | undefined; limit: number },
): Promise<OrderPage> => {
  const list = userId === undefined ? allOrders : ordersOf(userId)
  const stored = await snapshots.list('order', list, { before, limit: limit + 1 })
  return {
    items: stored.slice(0, limit).map((text) => orderSnapshot.parse(JSON.parse(text))),
    more: stored.length > limit,
  }
}
