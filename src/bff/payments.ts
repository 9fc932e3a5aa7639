import { createRoute, z } from '@hono/zod-openapi'
import { type PaymentSnapshot, getPayment, paymentSnapshot, refundPayment } from '#modules/payments'
import { DomainError } from '#platform/errors'
import type { SnapshotVersion } from '#platform/snapshots'
import type { BffOptions } from './bff.ts'
import { type Call, mayActFor } from './call.ts'
import { requireOperator } from './dead-letters.ts'
import { type Answer, once } from './once.ts'
import { bearer, changed, createRouter, idParameter, problems } from './openapi.ts'

const payment = z.object(paymentSnapshot.shape).openapi('Payment')

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

/** The payment, or null while its snapshot is not there yet, for a join from something that the caller may see. */
export const findPayment = async (call: Call, id: string): Promise<PaymentSnapshot | null> =>
  getPayment(call.payments, id).catch((error: unknown) => {
    if (error instanceof DomainError) return null
    throw error
  })

const versionOf = ({ id, version }: PaymentSnapshot): SnapshotVersion => ({
  module: 'payments',
  thing: 'payment',
  id,
  version,
})

/** Records the version that a command made, for the Consistency-Token. */
export const notePayment = (call: Call, payment: PaymentSnapshot): void => void call.changed.push(versionOf(payment))

const answer = (snapshot: PaymentSnapshot): Answer => ({
  status: 202,
  body: snapshot,
  location: `/payments/${snapshot.id}`,
  changed: [versionOf(snapshot)],
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
