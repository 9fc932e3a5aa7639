import type { ModuleContext } from '#platform/module'
import type { Checkouts } from './sagas/checkout.ts'

/** What the orders module needs from outside, one for each request. */
export type Context = ModuleContext<'orders'> & {
  /** How long an order may stay pending before it is cancelled, in milliseconds. */
  flowDeadlineMs: number
  checkouts: Checkouts
}
