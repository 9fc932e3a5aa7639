import { DomainError } from '#platform/errors'
import type { Money } from '#platform/money'
import type { Product } from './product.ts'

export type WantedLine = { sku: string; quantity: number }

export type Line = { sku: string; name: string; quantity: number; price: Money }

export type CancelReason = 'requested' | 'declined' | 'refunded' | 'user-closed' | 'timed-out' | 'checkout-failed'

type Placed = {
  id: string
  userId: string
  /** The checkout that this order belongs to; null for an order by choreography. */
  checkoutId: string | null
  lines: Line[]
  total: Money
  version: number
  createdAt: Date
}

export type PendingOrder = Placed & { status: 'pending'; reason: null; paymentId: null; confirmedAt: null }
export type ConfirmedOrder = Placed & { status: 'confirmed'; reason: null; paymentId: string; confirmedAt: Date }
export type CancelledOrder = Placed & {
  status: 'cancelled'
  reason: CancelReason
  paymentId: string | null
  confirmedAt: Date | null
}

export type Order = PendingOrder | ConfirmedOrder | CancelledOrder

export type Placement = { id: string; userId: string; checkoutId: string | null; lines: Line[]; at: Date }

/** Wanted lines of the same product become one, in the order in which they were first named. */
export const mergeLines = (wanted: WantedLine[]): WantedLine[] => {
  const quantities = new Map<string, number>()
  for (const { sku, quantity } of wanted) quantities.set(sku, (quantities.get(sku) ?? 0) + quantity)
  return [...quantities].map(([sku, quantity]) => ({ sku, quantity }))
}

/** Each product that is wanted by any of them, once. */
export const skusOf = (wishes: { wanted: WantedLine[] }[]): string[] => [
  ...new Set(wishes.flatMap(({ wanted }) => wanted.map(({ sku }) => sku))),
]

/** The lines at the products' own names and prices. @throws DomainError `unknown-sku`, `mixed-currencies` */
export const priceLines = (wanted: WantedLine[], products: ReadonlyMap<string, Product>): Line[] => {
  const lines = wanted.map(({ sku, quantity }) => {
    const product = products.get(sku)
    if (!product) throw new DomainError('unknown-sku', `There is no product ${sku}.`)
    return { sku, name: product.name, quantity, price: product.price }
  })
  if (new Set(lines.map(({ price }) => price.currency)).size > 1) {
    throw new DomainError('mixed-currencies', 'The products of one order must have one currency.')
  }
  return lines
}

/** What the lines cost. @throws DomainError `too-expensive` when it is no integer below 2^53 any more */
export const totalOf = (lines: Line[]): Money => {
  const amount = lines.reduce((sum, { price, quantity }) => sum + price.amount * quantity, 0)
  if (!Number.isSafeInteger(amount)) throw new DomainError('too-expensive', 'The total of the order is too large.')
  return { amount, currency: lines[0]?.price.currency ?? 'EUR' }
}

export const place = ({ id, userId, checkoutId, lines, at }: Placement): PendingOrder => ({
  id,
  userId,
  checkoutId,
  lines,
  total: totalOf(lines),
  status: 'pending',
  reason: null,
  paymentId: null,
  confirmedAt: null,
  version: 1,
  createdAt: at,
})

export const confirm = (order: PendingOrder, paymentId: string, at: Date): ConfirmedOrder => ({
  ...order,
  status: 'confirmed',
  paymentId,
  confirmedAt: at,
  version: order.version + 1,
})

/** @throws DomainError `already-cancelled` */
export const cancel = (order: Order, reason: CancelReason): CancelledOrder => {
  if (order.status === 'cancelled') throw new DomainError('already-cancelled', 'The order is cancelled already.')
  return { ...order, status: 'cancelled', reason, version: order.version + 1 }
}
