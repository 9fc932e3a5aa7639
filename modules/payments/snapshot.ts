import { asc, gt, sql } from 'drizzle-orm'
import { z } from 'zod'
import { money } from '#platform/money'
import type { SnapshotSource } from '#platform/snapshots'
import type { Payment } from './payment.ts'
import { toPayment } from './repository.ts'
import { payments } from './schema.ts'

/** A payment as the query side answers with it, and as Redis holds it under `payments:payment:<id>`. */
export const paymentSnapshot = z.object({
  id: z.uuid(),
  orderId: z.uuid(),
  userId: z.uuid(),
  status: z.enum(['pending', 'captured', 'declined', 'refunded']),
  amount: money,
  version: z.int().positive(),
  createdAt: z.iso.datetime(),
})

export type PaymentSnapshot = z.infer<typeof paymentSnapshot>

export const toPaymentSnapshot = ({
  id,
  orderId,
  userId,
  status,
  amount,
  version,
  createdAt,
}: Payment): PaymentSnapshot => ({
  id,
  orderId,
  userId,
  status,
  amount,
  version,
  createdAt: createdAt.toISOString(),
})

export const paymentSnapshots: SnapshotSource<PaymentSnapshot> = {
  thing: 'payment',
  load: async (tx, ids) => {
    const rows = await tx
      .select()
      .from(payments)
      .where(sql`${payments.id} = any(${`{${ids.join(',')}}`}::uuid[])`)
    return rows.map((row) => toPaymentSnapshot(toPayment(row)))
  },
  page: async (tx, after, limit) => {
    const next = after === undefined ? undefined : gt(payments.id, after)
    const rows = await tx.select().from(payments).where(next).orderBy(asc(payments.id)).limit(limit)
    return rows.map((row) => toPaymentSnapshot(toPayment(row)))
  },
}
