import type { Context } from '../context.ts'
import { orderNotFound } from '../repository.ts'
import { type OrderSnapshot, decodeOrder } from '../snapshot.ts'

/** Reads the snapshot. @throws DomainError `order-not-found`; UnavailableError while snapshots are rebuilt */
export const getOrder = async ({ snapshots }: Pick<Context, 'snapshots'>, id: string): Promise<OrderSnapshot> => {
  const stored = await snapshots.read('order', id)
  if (stored === null) throw orderNotFound()
  return decodeOrder(stored)
}
