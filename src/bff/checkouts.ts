import { createRoute } from '@hono/zod-openapi'
import { type CheckoutSnapshot, checkoutNotFound, checkoutSnapshot, getCheckout, startCheckout } from '#modules/orders'
import type { Keep } from '#platform/messaging/outbox'
import { snapshotKey } from '#platform/snapshot-reader'
import type { SnapshotVersion } from '#platform/snapshots'
import type { BffOptions } from './bff.ts'
import { forCustomers, mayActFor } from './access.ts'
import type { Call } from './call.ts'
import { answerSnapshot } from './conditional.ts'
import { checkoutExample } from './examples.ts'
import { placeOrderInput } from './inputs.ts'
import { type Answer, once } from './once.ts'
import {
  bearer,
  cacheableById,
  conditionally,
  createRouter,
  created,
  ended,
  endsLater,
  jsonBody,
  problems,
  readId,
} from './openapi.ts'

const checkout = checkoutSnapshot.omit({ version: true }).openapi('Checkout', { example: checkoutExample })

const tags = ['checkouts']

const start = createRoute({
  method: 'post',
  path: '/checkouts',
  tags,
  summary: 'Check a cart out, step by step',
  ...forCustomers,
  ...endsLater,
  request: jsonBody(placeOrderInput),
  responses: {
    200: ended('How it ended, for a client that preferred to wait', checkout),
    202: created('Its steps follow; Location is the checkout', checkout),
    ...problems(400, 401, 403, 408, 409, 413, 415, 422),
  },
})

const read = createRoute({
  method: 'get',
  path: '/checkouts/{id}',
  tags,
  summary: 'Read a checkout and its steps',
  security: bearer,
  ...cacheableById,
  responses: {
    ...conditionally('The checkout', checkout),
    ...problems(400, 401, 404),
  },
})

/** A checkout as clients see it. */
export const toCheckout = ({ id, userId, status, orderId, paymentId, error, steps }: CheckoutSnapshot) => ({
  id,
  userId,
  status,
  orderId,
  paymentId,
  error,
  steps,
})

/** Reads a checkout as somebody who may see it. @throws DomainError `unauthenticated`, `checkout-not-found` */
export const readCheckout = (call: Call, id: string): Promise<CheckoutSnapshot> =>
  call.query(async (identity) => {
    const found = await getCheckout(call.orders, id)
    if (!mayActFor(identity, found.userId)) throw checkoutNotFound()
    return found
  })

/** What starting a checkout changed: its order too, where it came that far. */
export const versionsOfCheckout = ({ id, version, orderId }: CheckoutSnapshot): SnapshotVersion[] => [
  { module: 'orders', thing: 'checkout', id, version },
  ...(orderId === null ? [] : [{ module: 'orders', thing: 'order', id: orderId, version: 1 }]),
]

/** Nothing more happens by itself; what waits for an operator may wait for long. */
const hasEnded = ({ status }: CheckoutSnapshot): boolean => status !== 'running' && status !== 'compensating'

const answer = (snapshot: CheckoutSnapshot, status: 200 | 202 = 202): Answer => ({
  status,
  body: toCheckout(snapshot),
  location: `/checkouts/${snapshot.id}`,
  changed: versionsOfCheckout(snapshot),
})

export const checkoutRoutes = ({ modules }: BffOptions) => {
  const module = modules.orders
  return createRouter()
    .openapi(start, async (c) => {
      const { call, identity } = c.var
      const input = { userId: identity.userId, ...c.req.valid('json') }
      const run = (keep?: Keep) => startCheckout(module.context(call.trace, keep), input)
      const ending = (id: string) => ({
        key: snapshotKey('orders', 'checkout', id),
        look: async () => {
          const found = await getCheckout(call.orders, id)
          return hasEnded(found) ? answer(found, 200) : undefined
        },
      })
      return once(c, { call, identity, input, module, run, answer, ending }) as never
    })
    .openapi(read, async (c) => {
      const found = await readCheckout(c.get('call'), readId(c))
      return answerSnapshot(c, found.version, toCheckout(found))
    })
}
