import type { Restating } from '#platform/republish'
import { toCheckoutSnapshot } from './checkout-snapshot.ts'
import { checkoutRestated, orderRestated, productRestated } from './events.ts'
import { lockOrders, lockProducts } from './repository.ts'
import type { Checkouts } from './sagas/checkout.ts'

const restateProducts: Restating<'orders'> = {
  thing: 'products',
  rows: { table: 'products', id: 'sku', sequence: 'sequence' },
  events: async (tx, skus) =>
    [...(await lockProducts(tx, skus)).values()].map(({ sku, name, price, stock, sequence }) =>
      productRestated(sku, sequence, { sku, name, ...price, stock }),
    ),
}

const restateOrders: Restating<'orders'> = {
  thing: 'orders',
  rows: { table: 'orders', id: 'id', sequence: 'version' },
  events: async (tx, ids) =>
    [...(await lockOrders(tx, ids)).values()].map(({ id, version, userId, total, lines, checkoutId, ...order }) => {
      const { status, reason, paymentId } = order
      const ordered = lines.map(({ sku, quantity }) => ({ sku, quantity }))
      return orderRestated(id, version, {
        orderId: id,
        userId,
        ...total,
        lines: ordered,
        checkoutId,
        status,
        reason,
        paymentId,
      })
    }),
}

const restateCheckouts = (checkouts: Checkouts): Restating<'orders'> => ({
  thing: 'checkouts',
  rows: { table: 'sagas', id: 'id', sequence: 'version', where: `name = '${checkouts.name}'` },
  events: async (tx, ids) =>
    (await checkouts.find(tx, { ids })).map(toCheckoutSnapshot).map(({ id, version, ...checkout }) => {
      const { userId, status, orderId, paymentId } = checkout
      return checkoutRestated(id, version, { checkoutId: id, userId, status, orderId, paymentId })
    }),
})

/** Products first: who hears of an order has heard of what was ordered. */
export const restating = (checkouts: Checkouts): Restating<'orders'>[] => [
  restateProducts,
  restateOrders,
  restateCheckouts(checkouts),
]
