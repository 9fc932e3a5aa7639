import { createRoute, z } from '@hono/zod-openapi'
import { type PaymentSnapshot, getPayment, paymentSnapshot, refundPayment } from '#modules/payments'
import { DomainError } from '#platform/errors'
import type { Keep } from '#platform/messaging/outbox'
import type { SnapshotVersion } from '#platform/snapshots'
import type { BffOptions } from './bff.ts'
import { forOperators, mayActFor } from './access.ts'
import type { Call } from './call.ts'
import { type Answer, once } from './once.ts'
import { answerSnapshot } from './conditional.ts'
import { paymentExample } from './examples.ts'
import { orNull } from './problems.ts'
import {
  bearer,
  cacheableById,
  changed,
  conditionally,
  createRouter,
  idParameter,
  problems,
  readId,
  repeatable,
} from './openapi.ts'

const payment = z.object(paymentSnapshot.shape).openapi('Payment', { example: paymentExample })

const tags = ['payments']

const read = createRoute({
  method: 'get',
  path: '/payments/{id}',
  tags,
  summary: 'Read a payment',
  security: bearer,
  ...cacheableById,
  responses: {
    ...conditionally('The payment', payment),
    ...problems(400, 401, 404),
  },
})

const refunding = createRoute({
  method: 'post',
  path: '/payments/{id}/refund',
  tags,
  summary: 'Give the money back; the order is cancelled',
  ...forOperators,
  ...repeatable,
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
export const findPayment = (call: Call, id: string): Promise<PaymentSnapshot | null> =>
  orNull(getPayment(call.payments, id))

/** What a command on a payment changed, for the Consistency-Token. */
export const versionsOfPayment = ({ id, version }: PaymentSnapshot): SnapshotVersion[] => [
  { module: 'payments', thing: 'payment', id, version },
]

const answer = (snapshot: PaymentSnapshot): Answer => ({
  status: 202,
  body: snapshot,
  location: `/payments/${snapshot.id}`,
  changed: versionsOfPayment(snapshot),
})

export const paymentRoutes = ({ modules }: BffOptions) => {
  const module = modules.payments
  return createRouter()
    .openapi(read, async (c) => {
      const found = await readPayment(c.get('call'), readId(c))
      return answerSnapshot(c, found.version, found)
    })
    .openapi(refunding, async (c) => {
      const { call, identity } = c.var
      const input = { id: c.req.valid('param').id }
      const run = (keep?: Keep) => refundPayment(module.context(call.trace, keep), input)
      return once(c, { call, identity, input, module, run, answer }) as never
    })
}
