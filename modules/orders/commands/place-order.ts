import { setTimer } from '#platform/timers'
import type { Context } from '../context.ts'
import { orderStarted } from '../events.ts'
import { type WantedLine, mergeLines, place, priceLines } from '../order.ts'
import { insertOrders, lockProducts, refuseClosedUser, reserveLines, updateStock } from '../repository.ts'
import { type OrderSnapshot, toOrderSnapshot } from '../snapshot.ts'
import { orderDeadline } from '../timers/order-deadline.ts'

export type PlaceOrder = { userId: string; lines: WantedLine[]; paymentToken: string }

/**
 * Reserves the stock and begins the choreography: the order stays pending until payments answers or its deadline comes.
 * @throws DomainError `unknown-sku`, `mixed-currencies`, `out-of-stock`, `account-closed`
 */
export const placeOrder = (context: Context, { userId, lines, paymentToken }: PlaceOrder): Promise<OrderSnapshot> =>
  context.transact(async (tx, emit) => {
    const wanted = mergeLines(lines)
    // The user first, as where an account is closed: each waits for the other's products, never for its user.
    const [, held] = await Promise.all([
      refuseClosedUser(tx, userId),
      lockProducts(
        tx,
        wanted.map(({ sku }) => sku),
      ),
    ])
    const priced = priceLines(wanted, held)
    const at = context.now()
    const order = place({ id: context.newId(), userId, checkoutId: null, lines: priced, at })
    await Promise.all([
      updateStock(tx, reserveLines(held, wanted)),
      insertOrders(tx, [order]),
      setTimer(tx, orderDeadline(order.id, new Date(at.getTime() + context.flowDeadlineMs), context.trace)),
    ])
    const { amount, currency } = order.total
    emit(
      orderStarted(order.id, order.version, {
        orderId: order.id,
        userId,
        amount,
        currency,
        lines: wanted,
        paymentToken,
      }),
    )
    return toOrderSnapshot(order)
  })
