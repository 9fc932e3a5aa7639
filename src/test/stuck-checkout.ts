import type { SagaState } from '#platform/saga/definition'
import type { Checkout, Shop } from './shop.ts'

const gone = { code: 'order-not-pending', message: 'The order is gone.' }
const unanswered = { code: 'timeout', message: 'The step charge-payment was not answered in time.' }

/** What no step could be left with by itself in the time that a test has. */
const stranded = {
  /** The order could not be confirmed, and the refund was never answered. */
  'needs-operator': (state: SagaState): SagaState => ({
    ...state,
    status: 'needs-operator',
    error: gone,
    steps: state.steps.map((step) => {
      if (step.name === 'charge-payment') return { ...step, undo: { attempt: 11, limit: 11, error: unanswered } }
      return step.name === 'confirm-order' ? { ...step, status: 'failed', error: gone } : step
    }),
  }),
  /** The charge was asked for and is not answered yet. */
  running: (state: SagaState): SagaState => ({
    ...state,
    status: 'running',
    steps: state.steps.map((step) => {
      if (step.name === 'charge-payment') return { ...step, status: 'running' }
      return step.name === 'confirm-order' ? { ...step, status: 'pending', at: null } : step
    }),
  }),
}

/**
 * A checkout of one piece that was paid, with its state in Postgres put back to where it is stuck: what it has yet to do, it
 * does to a real order and a real payment.
 */
export const stuckCheckout = async (
  shop: Shop,
  status: keyof typeof stranded,
): Promise<Checkout & { sku: string; token: string }> => {
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  const { id, orderId } = await shop.checkOut(buyer, [{ sku, quantity: 1 }])
  const completed = await shop.eventuallyCheckout(id, { status: 'completed' })
  await shop.quiet(orderId ?? '')
  const [row] = await shop.orders.run('select state from sagas where id = $1', [id])
  const state = stranded[status](JSON.parse(String(row?.['state'])) as SagaState)
  await shop.orders.run('update sagas set status = $2, state = $3 where id = $1', [id, status, JSON.stringify(state)])
  return { ...completed, sku, token: buyer.token }
}
