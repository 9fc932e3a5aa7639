import { cancelTimer } from '#platform/timers'
import { cancelled } from '../cancelled.ts'
import type { Context } from '../context.ts'
import { leaveCheckouts } from '../leave-checkouts.ts'
import { cancel } from '../order.ts'
import { lockOrder, orderNotFound, returnStock, updateOrders } from '../repository.ts'
import { type OrderSnapshot, toOrderSnapshot } from '../snapshot.ts'
import { orderDeadlineKind } from '../timers/order-deadline.ts'

/** Whose order it must be; null when anybody's will do. */
export type CancelOrder = { id: string; userId: string | null }

/**
 * Cancels the order and gives its stock back; payments returns what was taken.
 * @throws DomainError `order-not-found`, also for the order of another user; `already-cancelled`
 */
export const cancelOrder = (context: Context, input: CancelOrder): Promise<OrderSnapshot> =>
  context.transact(async (tx, emit, transaction) => {
    const storyOf = () => ({ emit, trace: context.trace })
    await leaveCheckouts({ tx, transaction, now: context.now(), storyOf }, context.checkouts, [input.id])
    const held = await lockOrder(tx, input.id)
    if (input.userId !== null && input.userId !== held.userId) throw orderNotFound()
    const order = cancel(held, 'requested')
    await updateOrders(tx, [order])
    await cancelTimer(tx, orderDeadlineKind, order.id)
    await returnStock(tx, [order])
    emit(cancelled(order))
    return toOrderSnapshot(order)
  })
