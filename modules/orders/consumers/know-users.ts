import { and, gt, inArray, sql } from 'drizzle-orm'
import { type ConsumerDefinition, onEach } from '#platform/messaging/consumer'
import type { Tx } from '#platform/postgres'
import { cancelTimers } from '#platform/timers'
import { userClosed, userEvents, userRegistered } from '#events/users'
import { cancelled } from '../cancelled.ts'
import { leaveCheckouts } from '../leave-checkouts.ts'
import { cancel } from '../order.ts'
import { lockOrders, returnStock, updateOrders } from '../repository.ts'
import type { Checkouts } from '../sagas/checkout.ts'
import { orders } from '../schema.ts'
import { orderDeadlineKind } from '../timers/order-deadline.ts'

/** A confirmed order is cancelled with its user's account for this long. */
const refundableMs = 24 * 3_600_000

const know = async (tx: Tx, id: string, status: 'active' | 'closed', version: number) => {
  await tx.execute(sql`insert into known_users (id, status, version) values (${id}, ${status}, ${version})
    on conflict (id) do update set status = excluded.status, version = excluded.version
    where known_users.version < excluded.version`)
}

/** The user's orders that are pending, or were confirmed within the last day. */
const openOrders = async (tx: Tx, userId: string, now: Date): Promise<string[]> => {
  const since = new Date(now.getTime() - refundableMs).toISOString()
  const open = sql`(${orders.status} = 'pending' or ${gt(orders.confirmedAt, sql`${since}`)})`
  const rows = await tx
    .select({ id: orders.id })
    .from(orders)
    .where(and(sql`${orders.userId} = ${userId}`, inArray(orders.status, ['pending', 'confirmed']), open))
  return rows.map(({ id }) => id)
}

type Parts = { now: () => Date; checkouts: Checkouts }

/** Keeps this module's own copy of the users; a closed one's pending and recent orders are cancelled. */
export const knowUsers = ({ now, checkouts }: Parts): ConsumerDefinition<'orders'> => ({
  topic: userEvents,
  handlers: [
    onEach(userRegistered, ({ tx }, { subject, sequence = 1 }) => know(tx, subject, 'active', sequence)),
    onEach(userClosed, async ({ tx, emit, transaction }, { subject, sequence = 1, trace }) => {
      await know(tx, subject, 'closed', sequence)
      const open = await openOrders(tx, subject, now())
      await leaveCheckouts({ tx, emit, transaction, trace, now: now() }, checkouts, open)
      const held = await lockOrders(tx, open)
      const ended = [...held.values()]
        .filter(({ status }) => status !== 'cancelled')
        .map((order) => cancel(order, 'user-closed'))
      await updateOrders(tx, ended)
      await cancelTimers(
        tx,
        orderDeadlineKind,
        ended.map(({ id }) => id),
      )
      await returnStock(tx, ended)
      for (const order of ended) emit(cancelled(order))
    }),
  ],
})
