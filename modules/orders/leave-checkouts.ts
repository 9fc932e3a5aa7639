import { and, isNotNull, sql } from 'drizzle-orm'
import type { Emit, Trace } from '#platform/messaging/message'
import type { SagaContext } from '#platform/saga/saga'
import type { Tx } from '#platform/postgres'
import type { Checkouts } from './sagas/checkout.ts'
import { orders } from './schema.ts'

type Leaving = SagaContext & { tx: Tx; emit: Emit<'orders'>; trace: Trace }

/**
 * Tells the checkouts of these orders that the orders are being cancelled, with their stock, by somebody else: they roll back
 * what else they did. To be called before the orders are locked, as a checkout locks its own row first.
 */
export const leaveCheckouts = async (context: Leaving, checkouts: Checkouts, orderIds: string[]): Promise<void> => {
  if (orderIds.length === 0) return
  const { tx, transaction, now, emit, trace } = context
  const rows = await tx
    .select({ id: orders.id })
    .from(orders)
    .where(and(sql`${orders.id} = any(${`{${orderIds.join(',')}}`}::uuid[])`, isNotNull(orders.checkoutId)))
  await checkouts.hear(
    { transaction, now },
    rows.map(({ id }) => ({
      key: id,
      step: 'create-order',
      outcome: { is: 'undone', data: { stockHeld: false } },
      emit,
      trace,
    })),
  )
}
