import { cancelTimer } from '#platform/timers'
import type { Context } from '../context.ts'
import { cancel } from '../order.ts'
import { lockOrder, returnStock, updateOrders } from '../repository.ts'
import { type OrderSnapshot, toOrderSnapshot } from '../snapshot.ts'
import { cancelled } from '../cancelled.ts'
import { orderDeadlineKind } from '../timers/order-deadline.ts'

/** Cancels the order and gives its stock back; payments returns what was taken. @throws DomainError `order-not-found`, `already-cancelled` */
export const cancelOrder = (context: Context, input: { id: string }): Promise<OrderSnapshot> =>
  context.transact(async (tx, emit) => {
    const order = cancel(await lockOrder(tx, input.id), 'requested')
    await updateOrders(tx, [order])
    await cancelTimer(tx, orderDeadlineKind, order.id)
    await returnStock(tx, [order])
    emit(cancelled(order))
    return toOrderSnapshot(order)
  })
