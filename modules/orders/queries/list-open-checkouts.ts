import { type CheckoutSnapshot, checkoutSnapshot, isOpen, openCheckoutsOf } from '../checkout-snapshot.ts'
import type { Context } from '../context.ts'

/** The user's newest checkouts that have not ended; two round trips, however many. @throws UnavailableError while snapshots are rebuilt */
export const listOpenCheckouts = async (
  { snapshots }: Pick<Context, 'snapshots'>,
  { userId, limit }: { userId: string; limit: number },
): Promise<CheckoutSnapshot[]> => {
  const { stored } = await snapshots.list('checkout', openCheckoutsOf(userId), { limit })
  // One may have ended since the list was read.
  return stored.map((text) => checkoutSnapshot.parse(JSON.parse(text))).filter(isOpen)
}
