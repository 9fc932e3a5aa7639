import { createRoute } from '@hono/zod-openapi'
import { type PaymentSnapshot, getPayment, paymentSnapshot, refundPayment } from '#modules/payments'
import { DomainError } from '#platform/errors'
import type { BffOptions } from './bff.ts'
import { type Call, mayActFor } from './call.ts'
import { requireOperator } from './dead-letters.ts'
import { type Answer, once } from './once.ts'
import { bearer, changed, createRouter, idParameter, problems } from './openapi.ts'

const payment = paymentSnapshot.openapi('Payment')

const tags = ['payments']

const read = createRoute({
  method: 'get',
  path: '/payments/{id}',
  tags,
  summary: 'Read a payment',
  security: bearer,
  request: { params: idParameter },
  responses: {
    200: { description: 'The payment', content: { 'application/json': { schema: payment } } },
    ...problems(400, 401, 404),
  },
})

const refunding = createRoute({
  method: 'post',
  path: '/payments/{id}/refund',
  tags,
  summary: 'Give the money back; the order is cancelled',
  security: bearer,
  request: { params: idParameter },
  responses: { 202: changed('The money goes back', payment), ...problems(400, 401, 403, 404, 409, 422) },
})

/** Reads a payment as somebody who may see it. @throws DomainError `unauthenticated`, `payment-not-found` */
export const readPayment = (call: Call, id: string): Promise<PaymentSnapshot> =>
  call.query(async (identity) => {
    const found = await getPayment(call.payments, id)
    if (!mayActFor(identity, found.userId)) throw new DomainError('payment-not-found', 'Payment not found')
    return found
  })

const answer = (snapshot: PaymentSnapshot): Answer => ({
  status: 202,
  body: snapshot,
  location: `/payments/${snapshot.id}`,
  changed: [{ module: 'payments', thing: 'payment', id: snapshot.id, version: snapshot.version }],
})

export const paymentRoutes = ({ modules }: BffOptions) =>
  createRouter()
    .openapi(read, async (c) => c.json(await readPayment(c.get('call'), c.req.valid('param').id), 200))
    .openapi(refunding, async (c) => {
      const call = c.get('call')
      const identity = await requireOperator(call)
      const input = { id: c.req.valid('param').id }
      const run = (context: typeof call.payments) => refundPayment(context, input)
      return once(c, { call, identity, module: modules.payments, input, run, answer }) as never
    })
