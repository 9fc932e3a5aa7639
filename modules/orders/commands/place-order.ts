import { orRefusal } from '#platform/errors'
import { type ForAll, unlessRefused } from '#platform/messaging/together'
import { setTimers } from '#platform/timers'
import type { Context } from '../context.ts'
import { orderStarted } from '../events.ts'
import { type PendingOrder, type WantedLine, mergeLines, place, priceLines, skusOf } from '../order.ts'
import { accountClosed, closedAmong, insertOrders, lockProducts, reserveLines, updateStock } from '../repository.ts'
import { type OrderSnapshot, toOrderSnapshot } from '../snapshot.ts'
import { orderDeadline } from '../timers/order-deadline.ts'

export type PlaceOrder = { userId: string; lines: WantedLine[]; paymentToken: string }

/** Somebody's wish to buy, among those of the same moment. */
export type Purchase = { context: Context; userId: string; wanted: WantedLine[]; paymentToken: string }

/**
 * Reserves the stock and begins the choreography: the order stays pending until payments answers or its deadline comes.
 * @throws DomainError `unknown-sku`, `mixed-currencies`, `out-of-stock`, `account-closed`
 */
export const placeOrder = (context: Context, { userId, lines, paymentToken }: PlaceOrder): Promise<OrderSnapshot> =>
  context.together(placeOrders, { context, userId, wanted: mergeLines(lines), paymentToken })

const placeOrders: ForAll<'orders', Purchase, OrderSnapshot> = async ({ tx }, members) => {
  const requests = members.map(({ request }) => request)
  // The users first, as where an account is closed: whoever comes second waits there, with no product locked yet.
  const [closed, held] = await Promise.all([closedAmong(tx, requests), lockProducts(tx, skusOf(requests))])
  const before = new Set(held.values())
  const judged = members.map(({ request, emit }) =>
    orRefusal(() => {
      const { context, userId, wanted } = request
      if (closed.has(userId)) throw accountClosed()
      const lines = priceLines(wanted, held)
      const order = place({ id: context.newId(), userId, checkoutId: null, lines, at: context.now() })
      for (const product of reserveLines(held, wanted)) held.set(product.sku, product)
      return { order, request, emit }
    }),
  )
  return unlessRefused(judged, async (placed) => {
    const placedOrders = placed.map(({ order }) => order)
    await Promise.all([
      updateStock(
        tx,
        [...held.values()].filter((product) => !before.has(product)),
      ),
      insertOrders(tx, placedOrders),
      setTimers(
        tx,
        placed.map(({ order, request: { context } }) => deadlineOf(order, context)),
      ),
    ])
    for (const { order, request, emit } of placed) emit(started(order, request))
    return placedOrders.map(toOrderSnapshot)
  })
}

const deadlineOf = ({ id }: PendingOrder, { flowDeadlineMs, trace }: Context) =>
  orderDeadline(id, flowDeadlineMs, trace)

const started = ({ id, version, userId, total }: PendingOrder, { wanted, paymentToken }: Purchase) =>
  orderStarted(id, version, { orderId: id, userId, ...total, lines: wanted, paymentToken })
