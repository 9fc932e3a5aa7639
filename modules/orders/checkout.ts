import type { SagaDefinition, StepDefinition } from '#platform/saga/definition'
import type { Money } from '#platform/money'
import type { Line, WantedLine } from './order.ts'

/** What a checkout knows; it learns the rest as it goes. */
export type CheckoutData = {
  userId: string
  /** Known from the start: the replies of payments name it. */
  orderId: string
  paymentToken: string
  wanted: WantedLine[]
  lines: Line[]
  total: Money | null
  /** The reserved pieces are still out of stock on this checkout's account, or its order's. */
  stockHeld: boolean
  paymentId: string | null
}

export const newCheckout = (
  known: Pick<CheckoutData, 'userId' | 'orderId' | 'paymentToken' | 'wanted'>,
): CheckoutData => ({ ...known, lines: [], total: null, stockHeld: false, paymentId: null })

const local: Omit<StepDefinition, 'name' | 'compensation'> = {
  kind: 'local',
  timeoutMs: 0,
  retries: 0,
  retryOn: [],
  undoRetries: 10,
  backoff: { firstMs: 500, maxMs: 60_000 },
}

/**
 * Reserves, creates, charges, confirms; rolled back in the opposite order. A charge that is not answered is asked for once
 * more and given up when the flow's deadline comes; it is then refunded whenever it turns out to have happened.
 */
export const checkoutDefinition = (flowDeadlineMs: number): SagaDefinition => ({
  name: 'checkout',
  steps: [
    { ...local, name: 'reserve-stock', compensation: 'local' },
    { ...local, name: 'create-order', compensation: 'local' },
    {
      ...local,
      name: 'charge-payment',
      kind: 'command',
      compensation: 'command',
      timeoutMs: flowDeadlineMs / 2,
      retries: 1,
    },
    { ...local, name: 'confirm-order', compensation: 'none' },
  ],
})
