import { asc, sql } from 'drizzle-orm'
import { DomainError } from '#platform/errors'
import { type Tx, columnsOf, textArray } from '#platform/postgres'
import type { Line, Order, WantedLine } from './order.ts'
import { type Product, giveBack, reserve } from './product.ts'
import { knownUsers, orders, products } from './schema.ts'

type OrderRow = typeof orders.$inferSelect
type ProductRow = typeof products.$inferSelect

export const orderNotFound = () => new DomainError('order-not-found', 'Order not found')

/** Reads the orders and locks their rows, in the order of their ids, until the transaction ends. */
export const lockOrders = async (tx: Tx, ids: string[]): Promise<Map<string, Order>> => {
  if (ids.length === 0) return new Map()
  const wanted = sql`${orders.id} = any(${`{${ids.join(',')}}`}::uuid[])`
  const rows = await tx.select().from(orders).where(wanted).orderBy(asc(orders.id)).for('update')
  return new Map(rows.map((row) => [row.id, toOrder(row)]))
}

/** @throws DomainError `order-not-found` */
export const lockOrder = async (tx: Tx, id: string): Promise<Order> => {
  const order = (await lockOrders(tx, [id])).get(id)
  if (!order) throw orderNotFound()
  return order
}

/** One statement, whatever their number. */
export const insertOrders = async (tx: Tx, placed: Order[]): Promise<void> => {
  if (placed.length === 0) return
  const rows = placed.map(({ id, userId, checkoutId, status, reason, lines, total, paymentId, version, ...at }) => ({
    id,
    user_id: userId,
    checkout_id: checkoutId,
    status,
    reason,
    lines,
    total_amount: total.amount,
    currency: total.currency,
    payment_id: paymentId,
    version,
    created_at: at.createdAt.toISOString(),
    confirmed_at: at.confirmedAt?.toISOString() ?? null,
  }))
  const columns = columnsOf(rows[0])
  await tx.execute(sql`insert into orders (${columns})
    select ${columns} from json_populate_recordset(null::orders, ${JSON.stringify(rows)})`)
}

/** Writes what of these orders can change; one statement, whatever their number. */
export const updateOrders = async (tx: Tx, changed: Order[]): Promise<void> => {
  if (changed.length === 0) return
  const rows = changed.map(({ id, status, reason, paymentId, version, confirmedAt }) => ({
    id,
    status,
    reason,
    payment_id: paymentId,
    version,
    confirmed_at: confirmedAt?.toISOString() ?? null,
  }))
  await tx.execute(sql`update orders set status = new.status, reason = new.reason, payment_id = new.payment_id,
      version = new.version, confirmed_at = new.confirmed_at
    from json_populate_recordset(null::orders, ${JSON.stringify(rows)}) as new where orders.id = new.id`)
}

/** The condition that a product is one of these. */
export const among = (skus: string[]) => sql`${products.sku} = any(${textArray(skus)}::text[])`

/** The products as they are now; another transaction may change them at once. */
export const readProducts = async (tx: Tx, skus: string[]): Promise<Map<string, Product>> => {
  const rows = await tx.select().from(products).where(among(skus))
  return new Map(rows.map((row) => [row.sku, toProduct(row)]))
}

/** Reads the products and locks their rows, in the order of their SKUs, so that two orders never wait for each other. */
export const lockProducts = async (tx: Tx, skus: string[]): Promise<Map<string, Product>> => {
  const rows = await tx.select().from(products).where(among(skus)).orderBy(asc(products.sku)).for('update')
  return new Map(rows.map((row) => [row.sku, toProduct(row)]))
}

/** Writes the stock of these products, which the transaction holds locked. */
export const updateStock = async (tx: Tx, changed: Product[]): Promise<void> => {
  if (changed.length === 0) return
  const rows = changed.map(({ sku, stock, added, version, sequence }) => ({ sku, stock, added, version, sequence }))
  await tx.execute(sql`update products set stock = new.stock, added = new.added, version = new.version, sequence = new.sequence
    from json_populate_recordset(null::products, ${JSON.stringify(rows)}) as new where products.sku = new.sku`)
}

/** The products with the lines' pieces taken. @throws DomainError `out-of-stock` */
export const reserveLines = (held: ReadonlyMap<string, Product>, lines: WantedLine[]): Product[] =>
  lines.map(({ sku, quantity }) => reserve(productOf(held, sku), quantity))

/** Gives the pieces of cancelled orders back to their products. */
export const returnStock = async (tx: Tx, cancelled: { lines: Line[] }[]): Promise<void> => {
  const quantities = new Map<string, number>()
  for (const { sku, quantity } of cancelled.flatMap(({ lines }) => lines)) {
    quantities.set(sku, (quantities.get(sku) ?? 0) + quantity)
  }
  if (quantities.size === 0) return
  const held = await lockProducts(tx, [...quantities.keys()])
  await updateStock(
    tx,
    [...quantities].map(([sku, quantity]) => giveBack(productOf(held, sku), quantity)),
  )
}

const productOf = (held: ReadonlyMap<string, Product>, sku: string): Product => {
  const product = held.get(sku)
  if (!product) throw new DomainError('unknown-sku', `There is no product ${sku}.`)
  return product
}

/**
 * Holds the closing of these users back until the transaction ends, also of those who are not known yet and may buy. Says
 * which of them are closed.
 */
export const closedAmong = async (tx: Tx, buyers: { userId: string }[]): Promise<Set<string>> => {
  // In one order, so that two that buy never wait for each other.
  const ids = [...new Set(buyers.map(({ userId }) => userId))].toSorted()
  const list = `{${ids.join(',')}}`
  const [, known] = await Promise.all([
    // Version 0 is below every one that an event can tell of.
    tx.execute(sql`insert into known_users (id, status, version)
      select id, 'active', 0 from unnest(${list}::uuid[]) as id on conflict do nothing`),
    tx
      .select()
      .from(knownUsers)
      .where(sql`${knownUsers.id} = any(${list}::uuid[])`)
      .orderBy(asc(knownUsers.id))
      .for('share'),
  ])
  return new Set(known.filter(({ status }) => status === 'closed').map(({ id }) => id))
}

export const accountClosed = () => new DomainError('account-closed', 'The account is closed.')

export const toOrder = ({ totalAmount, currency, status, reason, paymentId, confirmedAt, ...row }: OrderRow): Order => {
  const placed = { ...row, total: { amount: totalAmount, currency } }
  if (status === 'pending') return { ...placed, status, reason: null, paymentId: null, confirmedAt: null }
  if (status === 'confirmed' && paymentId && confirmedAt)
    return { ...placed, status, reason: null, paymentId, confirmedAt }
  if (status === 'cancelled' && reason) return { ...placed, status, reason, paymentId, confirmedAt }
  throw new Error(`The order ${row.id} is ${status} without what that needs.`)
}

export const toProduct = ({ priceAmount, currency, ...row }: ProductRow): Product => ({
  ...row,
  price: { amount: priceAmount, currency },
})

export const toProductRow = ({ price, ...product }: Product): ProductRow => ({
  ...product,
  priceAmount: price.amount,
  currency: price.currency,
})
