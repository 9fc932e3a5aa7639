import { and, gt, inArray, sql } from 'drizzle-orm'
import { type ConsumerDefinition, onBatch } from '#platform/messaging/consumer'
import type { Received } from '#platform/messaging/message'
import type { Tx } from '#platform/postgres'
import { cancelTimers } from '#platform/timers'
import { userClosed, userEvents, userRegistered, userRestated } from '#events/users'
import { cancelled } from '../cancelled.ts'
import { leaveCheckouts } from '../leave-checkouts.ts'
import { cancel } from '../order.ts'
import { lockOrders, returnStock, updateOrders } from '../repository.ts'
import type { Checkouts } from '../sagas/checkout.ts'
import { orders } from '../schema.ts'
import { orderDeadlineKind } from '../timers/order-deadline.ts'

/** A confirmed order is cancelled with its user's account for this long. */
const refundableMs = 24 * 3_600_000

type Known = { id: string; status: 'active' | 'closed'; version: number }

/** Keeps the newest of what is known of each user; one statement, whatever their number. */
const know = async (tx: Tx, users: Known[]): Promise<void> => {
  const newest = new Map<string, Known>()
  for (const user of users) if (user.version >= (newest.get(user.id)?.version ?? 0)) newest.set(user.id, user)
  const rows = [...newest.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
  await tx.execute(sql`insert into known_users (id, status, version)
    select id, status, version from json_populate_recordset(null::known_users, ${JSON.stringify(rows)})
    on conflict (id) do update set status = excluded.status, version = excluded.version
    where known_users.version < excluded.version`)
}

/** The orders of these users that are pending, or were confirmed within the last day. */
const openOrders = async (tx: Tx, userIds: string[], now: Date): Promise<string[]> => {
  const since = new Date(now.getTime() - refundableMs).toISOString()
  const open = sql`(${orders.status} = 'pending' or ${gt(orders.confirmedAt, sql`${since}`)})`
  const rows = await tx
    .select({ id: orders.id })
    .from(orders)
    .where(
      and(
        sql`${orders.userId} = any(${`{${userIds.join(',')}}`}::uuid[])`,
        inArray(orders.status, ['pending', 'confirmed']),
        open,
      ),
    )
  return rows.map(({ id }) => id)
}

const isClosed = ({ type, data }: Received): boolean =>
  type === userClosed.type || (type === userRestated.type && (data as { status: string }).status === 'closed')

type Parts = { now: () => Date; checkouts: Checkouts }

/** Keeps this module's own copy of the users; a closed one's pending and recent orders are cancelled. */
export const knowUsers = ({ now, checkouts }: Parts): ConsumerDefinition<'orders'> => ({
  topic: userEvents,
  handlers: [
    onBatch([userRegistered, userClosed, userRestated], async ({ tx, transaction, emitFor }, messages) => {
      await know(
        tx,
        messages.map((message) => ({
          id: message.subject,
          status: isClosed(message) ? 'closed' : 'active',
          version: message.sequence ?? 1,
        })),
      )
      const closings = new Map(messages.filter(isClosed).map((each) => [each.subject, each]))
      if (closings.size === 0) return
      const open = await openOrders(tx, [...closings.keys()], now())
      const storyOf = (userId: string) => {
        const cause = closings.get(userId)
        return cause && { emit: emitFor(cause), trace: cause.trace }
      }
      await leaveCheckouts({ tx, transaction, now: now(), storyOf }, checkouts, open)
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
      for (const order of ended) storyOf(order.userId)?.emit(cancelled(order))
    }),
  ],
})
