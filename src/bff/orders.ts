import { createRoute, z } from '@hono/zod-openapi'
import {
  type CancelOrder,
  type OrderPage,
  type OrderSnapshot,
  cancelOrder,
  getOrder,
  listOrders,
  orderSnapshot,
  placeOrder,
} from '#modules/orders'
import { DomainError } from '#platform/errors'
import type { Keep } from '#platform/messaging/outbox'
import { snapshotKey } from '#platform/snapshot-reader'
import type { SnapshotVersion } from '#platform/snapshots'
import type { BffOptions } from './bff.ts'
import { forCustomers, forSignedIn, mayActFor } from './access.ts'
import type { Call } from './call.ts'
import type { Identity } from './identity.ts'
import { answerSnapshot } from './conditional.ts'
import { orderExample } from './examples.ts'
import { orNull } from './problems.ts'
import { decodeCursor, encodeCursor, pageInput, placeOrderInput } from './inputs.ts'
import { type Answer, once } from './once.ts'
import {
  awaiting,
  bearer,
  cacheableById,
  changed,
  conditionally,
  createRouter,
  created,
  ended,
  endsLater,
  idParameter,
  jsonBody,
  problems,
  readId,
  repeatable,
} from './openapi.ts'

const order = z.object(orderSnapshot.shape).openapi('Order', { example: orderExample })

const tags = ['orders']

const placing = createRoute({
  method: 'post',
  path: '/orders',
  tags,
  summary: 'Buy now',
  ...forCustomers,
  ...endsLater,
  request: jsonBody(placeOrderInput),
  responses: {
    200: ended('How it ended, for a client that preferred to wait', order),
    202: created('Pending until the payment is known; Location is the order', order),
    ...problems(400, 401, 403, 408, 409, 413, 415, 422),
  },
})

const read = createRoute({
  method: 'get',
  path: '/orders/{id}',
  tags,
  summary: 'Read an order',
  security: bearer,
  ...cacheableById,
  responses: {
    ...conditionally('The order', order),
    ...problems(400, 401, 404),
  },
})

const page = z
  .object({ items: z.array(order), nextCursor: z.string().nullable() })
  .openapi('OrderPage', { example: { items: [orderExample], nextCursor: null } })

const list = createRoute({
  method: 'get',
  path: '/orders',
  tags,
  summary: 'Your orders, newest first; an operator sees all',
  security: bearer,
  ...awaiting,
  request: { query: pageInput },
  responses: {
    200: { description: 'A page of orders', content: { 'application/json': { schema: page } } },
    ...problems(400, 401),
  },
})

const cancelling = createRoute({
  method: 'post',
  path: '/orders/{id}/cancellation',
  tags,
  summary: 'Cancel an order; what was paid goes back',
  ...forSignedIn,
  ...repeatable,
  request: { params: idParameter },
  responses: { 202: changed('Cancelled', order), ...problems(400, 401, 404, 409, 422) },
})

const notFound = () => new DomainError('order-not-found', 'Order not found')

/** Reads an order as somebody who may see it. @throws DomainError `unauthenticated`, `order-not-found` */
export const readOrder = (call: Call, id: string): Promise<OrderSnapshot> =>
  call.query(async (identity) => {
    const found = await getOrder(call.orders, id)
    if (!mayActFor(identity, found.userId)) throw notFound()
    return found
  })

/** The order, or null while its snapshot is not there yet, for a join from something that the caller may see. */
export const findOrder = (call: Call, id: string): Promise<OrderSnapshot | null> => orNull(getOrder(call.orders, id))

/** A page of the orders that the signed-in user may see. @throws DomainError `unauthenticated` */
export const readOrders = (
  call: Call,
  { limit, before }: { limit: number; before: string | undefined },
): Promise<OrderPage> =>
  call.query(({ role, userId }) =>
    listOrders(call.orders, { userId: role === 'operator' ? undefined : userId, before, limit }),
  )

/** The cancellation that this identity may ask for: a customer of an own order, an operator of any. */
export const cancellationBy = ({ role, userId }: Identity, id: string): CancelOrder => ({
  id,
  userId: role === 'operator' ? null : userId,
})

/** What a command on an order changed, for the Consistency-Token. */
export const versionsOfOrder = ({ id, version }: OrderSnapshot): SnapshotVersion[] => [
  { module: 'orders', thing: 'order', id, version },
]

const answer = (snapshot: OrderSnapshot, status: 200 | 202 = 202): Answer => ({
  status,
  body: snapshot,
  location: `/orders/${snapshot.id}`,
  changed: versionsOfOrder(snapshot),
})

export const orderRoutes = ({ modules }: BffOptions) => {
  const module = modules.orders
  return createRouter()
    .openapi(placing, async (c) => {
      const { call, identity } = c.var
      const input = { userId: identity.userId, ...c.req.valid('json') }
      const run = (keep?: Keep) => placeOrder(module.context(call.trace, keep), input)
      const ending = (id: string) => ({
        key: snapshotKey('orders', 'order', id),
        look: async () => {
          const order = await getOrder(call.orders, id)
          return order.status === 'pending' ? undefined : answer(order, 200)
        },
      })
      return once(c, { call, identity, input, module, run, answer, ending }) as never
    })
    .openapi(read, async (c) => {
      const found = await readOrder(c.get('call'), readId(c))
      return answerSnapshot(c, found.version, found)
    })
    .openapi(list, async (c) => {
      const { limit, cursor } = c.req.valid('query')
      const { items, next } = await readOrders(c.get('call'), { limit, before: decodeCursor(cursor) })
      return c.json({ items, nextCursor: next === undefined ? null : encodeCursor(next) }, 200)
    })
    .openapi(cancelling, async (c) => {
      const { call, identity } = c.var
      const input = cancellationBy(identity, c.req.valid('param').id)
      const run = (keep?: Keep) => cancelOrder(module.context(call.trace, keep), input)
      return once(c, { call, identity, input, module, run, answer }) as never
    })
}
