import { asc, sql } from 'drizzle-orm'
import { DomainError } from '#platform/errors'
import { type Tx, columnsOf } from '#platform/postgres'
import type { Payment } from './payment.ts'
import { payments } from './schema.ts'

type Row = typeof payments.$inferSelect

export const paymentNotFound = () => new DomainError('payment-not-found', 'Payment not found')

const lock = async (
  tx: Tx,
  column: typeof payments.id | typeof payments.orderId,
  ids: string[],
): Promise<Payment[]> => {
  const among = sql`${column} = any(${`{${ids.join(',')}}`}::uuid[])`
  const rows = await tx.select().from(payments).where(among).orderBy(asc(payments.id)).for('update')
  return rows.map(toPayment)
}

/** Reads the payments and locks their rows, in the order of their ids, until the transaction ends. */
export const lockPayments = async (tx: Tx, ids: string[]): Promise<Map<string, Payment>> =>
  new Map((await lock(tx, payments.id, ids)).map((payment) => [payment.id, payment]))

/** The payments of these orders, by order id, locked. */
export const lockPaymentsOf = async (tx: Tx, orderIds: string[]): Promise<Map<string, Payment>> =>
  new Map((await lock(tx, payments.orderId, orderIds)).map((payment) => [payment.orderId, payment]))

/**
 * Inserts those whose order has no payment yet and returns them; one statement, whatever their number. With
 * `unlessCancelled`, an order whose cancellation came first gets none.
 */
export const insertPayments = async <P extends Payment>(
  tx: Tx,
  fresh: P[],
  { unlessCancelled = false } = {},
): Promise<P[]> => {
  if (fresh.length === 0) return []
  const wanted = unlessCancelled
    ? sql`where not exists (select from cancelled_orders where cancelled_orders.order_id = fresh.order_id)`
    : sql``
  const given = fresh.map(toColumns)
  const columns = columnsOf(given[0])
  const rows = await tx.execute(sql`insert into payments (${columns})
    select ${columns} from json_populate_recordset(null::payments, ${JSON.stringify(given)}) as fresh ${wanted}
    on conflict (order_id) do nothing returning id`)
  const inserted = new Set((rows as unknown as [string][]).map(([id]) => id))
  return fresh.filter(({ id }) => inserted.has(id))
}

/** Remembers that the order, which has no payment, is never to have one. */
export const rememberCancelled = async (tx: Tx, orderId: string): Promise<void> => {
  await tx.execute(sql`insert into cancelled_orders (order_id) values (${orderId}) on conflict do nothing`)
}

/** Writes what of these payments can change; one statement, whatever their number. */
export const updatePayments = async (tx: Tx, changed: Payment[]): Promise<void> => {
  if (changed.length === 0) return
  await tx.execute(sql`update payments set status = new.status, charge_id = new.charge_id, refund_asked = new.refund_asked,
      version = new.version, captured_at = new.captured_at, refunded_at = new.refunded_at
    from json_populate_recordset(null::payments, ${JSON.stringify(changed.map(toColumns))}) as new where payments.id = new.id`)
}

const toColumns = (payment: Payment) => ({
  id: payment.id,
  order_id: payment.orderId,
  user_id: payment.userId,
  status: payment.status,
  amount: payment.amount.amount,
  currency: payment.amount.currency,
  token: payment.token,
  charge_id: payment.chargeId,
  refund_asked: payment.refundAsked,
  version: payment.version,
  created_at: payment.createdAt.toISOString(),
  captured_at: payment.capturedAt?.toISOString() ?? null,
  refunded_at: payment.refundedAt?.toISOString() ?? null,
})

export const toPayment = ({ amount, currency, status, chargeId, capturedAt, refundedAt, ...row }: Row): Payment => {
  const requested = { ...row, amount: { amount, currency } }
  switch (status) {
    case 'pending':
    case 'declined':
      return { ...requested, status, chargeId: null, capturedAt: null, refundedAt: null }
    case 'captured':
      if (chargeId && capturedAt) return { ...requested, status, chargeId, capturedAt, refundedAt: null }
      break
    case 'refunded':
      if (chargeId && capturedAt && refundedAt) return { ...requested, status, chargeId, capturedAt, refundedAt }
      break
  }
  throw new Error(`The payment ${row.id} is ${status} without what that needs.`)
}
