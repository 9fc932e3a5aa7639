import { z } from 'zod'
import type { SnapshotSource } from '#platform/snapshots'
import type { StoredSaga } from '#platform/saga/store'
import type { CheckoutData } from './checkout.ts'
import type { Checkouts } from './sagas/checkout.ts'

const failure = z.object({ code: z.string(), message: z.string() })

/** A checkout as the query side answers with it, and as Redis holds it under `orders:checkout:<id>`. */
export const checkoutSnapshot = z.object({
  id: z.uuid(),
  userId: z.uuid(),
  status: z.enum(['running', 'completed', 'compensating', 'compensated', 'needs-operator']),
  orderId: z.uuid().nullable(),
  paymentId: z.uuid().nullable(),
  error: failure.nullable(),
  steps: z.array(
    z.object({
      name: z.enum(['reserve-stock', 'create-order', 'charge-payment', 'confirm-order']),
      status: z.enum(['pending', 'running', 'done', 'failed', 'compensated']),
      at: z.iso.datetime().nullable(),
      error: failure.nullable(),
    }),
  ),
  version: z.int().positive(),
})

export type CheckoutSnapshot = z.infer<typeof checkoutSnapshot>

export const toCheckoutSnapshot = ({ id, state, version }: StoredSaga<CheckoutData>): CheckoutSnapshot => {
  const { status, error, data, steps } = state
  const created = steps.some(({ name, status, at }) => name === 'create-order' && at !== null && status !== 'failed')
  return checkoutSnapshot.parse({
    id,
    userId: data.userId,
    status,
    orderId: created ? data.orderId : null,
    paymentId: data.paymentId,
    error,
    steps: steps.map(({ name, status, at, error, undo }) => ({
      name,
      status,
      at,
      error: error ?? undo?.error ?? null,
    })),
    version,
  })
}

/** The list of a user's checkouts that have not ended. */
export const openCheckoutsOf = (userId: string): string => `open-checkouts-of:${userId}`

/** One that waits for an operator has not ended. */
export const isOpen = ({ status }: CheckoutSnapshot): boolean => status !== 'completed' && status !== 'compensated'

export const checkoutSnapshots = (checkouts: Checkouts): SnapshotSource<CheckoutSnapshot> => ({
  thing: 'checkout',
  passingLists: (checkout) => [{ list: openCheckoutsOf(checkout.userId), member: isOpen(checkout) }],
  load: async (tx, ids) => (await checkouts.find(tx, { ids })).map(toCheckoutSnapshot),
  page: async (tx, after, limit) => (await checkouts.find(tx, { after, limit })).map(toCheckoutSnapshot),
})
