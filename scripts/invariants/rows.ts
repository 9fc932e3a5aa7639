import type { SqlRow } from '#platform/postgres'
import { type Finding, nullable, text } from './invariant.ts'

/** Makes a finding of a sentence: one that waits, when an operator has been told of any of the ids. */
export type Judge = (line: string, ...ids: (string | null | undefined)[]) => Finding

export type Money = { amount: number; currency: string }

export type Payment = Money & { id: string; orderId: string; status: string; chargeId: string | null }
export type Order = Money & { id: string; status: string; paymentId: string | null }

/** An amount for a sentence, in minor units. */
export const amountOf = ({ amount, currency }: Money): string => `${amount} ${currency}`

/** Whether amount and currency are equal. */
export const isSame = (one: Money, other: Money): boolean =>
  one.amount === other.amount && one.currency === other.currency

/** What `toPayment` reads. */
export const paymentColumns = 'id, order_id, status, amount, currency, charge_id'

/** A payment out of its row. */
export const toPayment = (row: SqlRow): Payment => ({
  id: text(row, 'id'),
  orderId: text(row, 'order_id'),
  status: text(row, 'status'),
  amount: Number(row['amount']),
  currency: text(row, 'currency'),
  chargeId: nullable(row, 'charge_id'),
})

/** An order out of its row. */
export const toOrder = (row: SqlRow): Order => ({
  id: text(row, 'id'),
  status: text(row, 'status'),
  amount: Number(row['total_amount']),
  currency: text(row, 'currency'),
  paymentId: nullable(row, 'payment_id'),
})
