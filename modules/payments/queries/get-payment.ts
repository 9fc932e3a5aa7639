import type { Context } from '../context.ts'
import { paymentNotFound } from '../repository.ts'
import { type PaymentSnapshot, paymentSnapshot } from '../snapshot.ts'

/** Reads the snapshot. @throws DomainError `payment-not-found`; UnavailableError while snapshots are rebuilt */
export const getPayment = async ({ snapshots }: Pick<Context, 'snapshots'>, id: string): Promise<PaymentSnapshot> => {
  const stored = await snapshots.read('payment', id)
  if (stored === null) throw paymentNotFound()
  return paymentSnapshot.parse(JSON.parse(stored))
}
