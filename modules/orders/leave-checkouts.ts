import { and, isNotNull, sql } from 'drizzle-orm'
import type { Emit, Trace } from '#platform/messaging/message'
import type { Outcome } from '#platform/saga/definition'
import type { SagaContext } from '#platform/saga/saga'
import type { Tx } from '#platform/postgres'
import type { CheckoutData } from './checkout.ts'
import type { Checkouts } from './sagas/checkout.ts'
import { orders } from './schema.ts'

type Story = { emit: Emit<'orders'>; trace: Trace }

/** `storyOf` says to which story the cancelling of a user's orders belongs. */
type Leaving = SagaContext & { tx: Tx; storyOf: (userId: string) => Story | undefined }

/**
 * Tells the checkouts of these orders that the orders are being cancelled, with their stock, by somebody else: they roll back
 * what else they did. To be called before the orders are locked, as a checkout locks its own row first.
 */
export const leaveCheckouts = async (context: Leaving, checkouts: Checkouts, orderIds: string[]): Promise<void> => {
  if (orderIds.length === 0) return
  const { tx, transaction, now, storyOf } = context
  const rows = await tx
    .select({ id: orders.id, userId: orders.userId })
    .from(orders)
    .where(and(sql`${orders.id} = any(${`{${orderIds.join(',')}}`}::uuid[])`, isNotNull(orders.checkoutId)))
  await checkouts.hear(
    { transaction, now },
    rows.flatMap(({ id, userId }) => {
      const story = storyOf(userId)
      const error = { code: 'order-cancelled', message: 'The order was cancelled before the checkout had ended.' }
      const outcome: Outcome<CheckoutData> = { is: 'undone', data: { stockHeld: false }, error }
      return story ? [{ key: id, step: 'create-order', outcome, ...story }] : []
    }),
  )
}
