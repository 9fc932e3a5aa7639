import { DomainError } from '#platform/errors'
import { type CheckoutSnapshot, checkoutSnapshot } from '../checkout-snapshot.ts'
import type { Context } from '../context.ts'

export const checkoutNotFound = () => new DomainError('checkout-not-found', 'Checkout not found')

/** Reads the snapshot. @throws DomainError `checkout-not-found`; UnavailableError while snapshots are rebuilt */
export const getCheckout = async ({ snapshots }: Pick<Context, 'snapshots'>, id: string): Promise<CheckoutSnapshot> => {
  const stored = await snapshots.read('checkout', id)
  if (stored === null) throw checkoutNotFound()
  return checkoutSnapshot.parse(JSON.parse(stored))
}
