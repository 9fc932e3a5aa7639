import { asc, gt, sql } from 'drizzle-orm'
import { z } from 'zod'
import { decodeOnce } from '#platform/decode'
import { money } from '#platform/money'
import type { SnapshotSource } from '#platform/snapshots'
import type { Order } from './order.ts'
import type { Product } from './product.ts'
import { among, toOrder, toProduct } from './repository.ts'
import { orders, products } from './schema.ts'

/** An order as the query side answers with it, and as Redis holds it under `orders:order:<id>`. */
export const orderSnapshot = z.object({
  id: z.uuid(),
  userId: z.uuid(),
  status: z.enum(['pending', 'confirmed', 'cancelled']),
  reason: z.string().nullable(),
  lines: z.array(z.object({ sku: z.string(), name: z.string(), quantity: z.int().positive(), price: money })),
  total: money,
  paymentId: z.uuid().nullable(),
  version: z.int().positive(),
  createdAt: z.iso.datetime(),
})

export type OrderSnapshot = z.infer<typeof orderSnapshot>

export const decodeOrder = decodeOnce(orderSnapshot)

/** A product as Redis holds it under `orders:product:<sku>`. */
export const productSnapshot = z.object({
  id: z.string(),
  sku: z.string(),
  name: z.string(),
  price: money,
  stock: z.int().nonnegative(),
  version: z.int().positive(),
})

export type ProductSnapshot = z.infer<typeof productSnapshot>

export const decodeProduct = decodeOnce(productSnapshot)

export const toOrderSnapshot = ({
  id,
  userId,
  status,
  reason,
  lines,
  total,
  paymentId,
  version,
  createdAt,
}: Order): OrderSnapshot => ({
  id,
  userId,
  status,
  reason,
  lines,
  total,
  paymentId,
  version,
  createdAt: createdAt.toISOString(),
})

export const toProductSnapshot = ({ sku, name, price, stock, version }: Product): ProductSnapshot => ({
  id: sku,
  sku,
  name,
  price,
  stock,
  version,
})

/** The list of all orders; a user's own is the same with the user's id. */
export const allOrders = 'orders-of:all'

export const ordersOf = (userId: string): string => `orders-of:${userId}`

export const orderSnapshots: SnapshotSource<OrderSnapshot> = {
  thing: 'order',
  lists: ({ userId }) => [allOrders, ordersOf(userId)],
  load: async (tx, ids) => {
    const rows = await tx
      .select()
      .from(orders)
      .where(sql`${orders.id} = any(${`{${ids.join(',')}}`}::uuid[])`)
    return rows.map((row) => toOrderSnapshot(toOrder(row)))
  },
  page: async (tx, after, limit) => {
    const next = after === undefined ? undefined : gt(orders.id, after)
    const rows = await tx.select().from(orders).where(next).orderBy(asc(orders.id)).limit(limit)
    return rows.map((row) => toOrderSnapshot(toOrder(row)))
  },
}

export const allProducts = 'products'

export const productSnapshots: SnapshotSource<ProductSnapshot> = {
  thing: 'product',
  lists: () => [allProducts],
  load: async (tx, skus) => {
    const rows = await tx.select().from(products).where(among(skus))
    return rows.map((row) => toProductSnapshot(toProduct(row)))
  },
  page: async (tx, after, limit) => {
    const next = after === undefined ? undefined : gt(products.sku, after)
    const rows = await tx.select().from(products).where(next).orderBy(asc(products.sku)).limit(limit)
    return rows.map((row) => toProductSnapshot(toProduct(row)))
  },
}
