import { createRoute } from '@hono/zod-openapi'
import { type CheckoutSnapshot, checkoutNotFound, checkoutSnapshot, getCheckout, startCheckout } from '#modules/orders'
import type { SnapshotVersion } from '#platform/snapshots'
import type { BffOptions } from './bff.ts'
import { type Call, mayActFor } from './call.ts'
import { placeOrderInput } from './inputs.ts'
import { type Answer, once } from './once.ts'
import { bearer, changed, createRouter, idParameter, jsonBody, problems } from './openapi.ts'
import { requireCustomer } from './orders.ts'

const checkout = checkoutSnapshot.omit({ version: true }).openapi('Checkout')

const tags = ['checkouts']

const start = createRoute({
  method: 'post',
  path: '/checkouts',
  tags,
  summary: 'Check a cart out, step by step',
  security: bearer,
  request: jsonBody(placeOrderInput),
  responses: {
    202: changed('Its steps follow; Location is the checkout', checkout),
    ...problems(400, 401, 403, 409, 413, 422),
  },
})

const read = createRoute({
  method: 'get',
  path: '/checkouts/{id}',
  tags,
  summary: 'Read a checkout and its steps',
  security: bearer,
  request: { params: idParameter },
  responses: {
    200: { description: 'The checkout', content: { 'application/json': { schema: checkout } } },
    ...problems(400, 401, 404),
  },
})

/** A checkout as clients see it. */
export const toCheckout = ({ version: _, ...rest }: CheckoutSnapshot) => rest

/** Reads a checkout as somebody who may see it. @throws DomainError `unauthenticated`, `checkout-not-found` */
export const readCheckout = (call: Call, id: string): Promise<CheckoutSnapshot> =>
  call.query(async (identity) => {
    const found = await getCheckout(call.orders, id)
    if (!mayActFor(identity, found.userId)) throw checkoutNotFound()
    return found
  })

const versionOf = ({ id, version }: CheckoutSnapshot): SnapshotVersion => ({
  module: 'orders',
  thing: 'checkout',
  id,
  version,
})

/** Records the version that a command made, for the Consistency-Token. */
export const noteCheckout = (call: Call, checkout: CheckoutSnapshot): void =>
  void call.changed.push(versionOf(checkout))

const answer = (snapshot: CheckoutSnapshot): Answer => ({
  status: 202,
  body: toCheckout(snapshot),
  location: `/checkouts/${snapshot.id}`,
  changed: [versionOf(snapshot)],
})

export const checkoutRoutes = ({ modules }: BffOptions) =>
  createRouter()
    .openapi(start, async (c) => {
      const call = c.get('call')
      const identity = await requireCustomer(call)
      const input = { userId: identity.userId, ...c.req.valid('json') }
      const run = (context: typeof call.orders) => startCheckout(context, input)
      return once(c, { call, identity, module: modules.orders, input, run, answer }) as never
    })
    .openapi(read, async (c) => c.json(toCheckout(await readCheckout(c.get('call'), c.req.valid('param').id)), 200))
