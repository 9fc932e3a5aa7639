import { z } from 'zod'
import type { CallResult } from '#platform/calls'
import type { Trace } from '#platform/messaging/message'
import type { Outgoing } from '#platform/outgoing'
import type { Money } from '#platform/money'

/** `at` is the provider's own time, so that a period holds the same movements here and there. */
export type ChargeOutcome = { kind: 'captured'; chargeId: string; at: Date } | { kind: 'declined'; reason: string }

/** The story that a request belongs to, and what ends it. */
type Asking = { trace: Trace; signal: AbortSignal }

/** The payment provider as this module sees it. Every request carries a key derived from the payment, so a repeat finds the first. */
export type Provider = {
  charge(charge: { paymentId: string; token: string; amount: Money } & Asking): Promise<CallResult<ChargeOutcome>>
  refund(
    refund: { paymentId: string; chargeId: string; amount: number } & Asking,
  ): Promise<CallResult<{ refundId: string; at: Date }>>
}

/** An id as the provider names it: it is kept and sent back. */
const providerId = z.string().regex(/^[\x21-\x7e]{1,200}$/)

const chargeAnswer = z.object({
  id: providerId,
  createdAt: z.iso.datetime(),
  status: z.enum(['captured', 'declined']),
  // Shown to the customer; the word of a stranger all the same.
  declineCode: z
    .string()
    .regex(/^[\w.-]{1,64}$/)
    .nullish()
    .catch(null),
  amount: z.int().optional(),
  currency: z.string().optional(),
  reference: z.string().optional(),
})

const refundAnswer = z.object({ id: providerId, createdAt: z.iso.datetime() })

const problem = z.object({ error: z.object({ code: z.string() }) })

/** @throws Error when what the answer repeats of the charge, if it does, is not what was sent */
const readCharge = (body: unknown, sent: { amount: number; currency: string; reference: string }) => {
  const answer = chargeAnswer.parse(body)
  for (const name of ['amount', 'currency', 'reference'] as const) {
    if (answer[name] !== undefined && answer[name] !== sent[name])
      throw new Error(`the provider answers for another ${name} than it was asked for`)
  }
  return answer
}

export const createProvider = (outgoing: Outgoing): Provider => ({
  charge: async ({ paymentId, token, amount, trace, signal }) => {
    const body = { token, ...amount, reference: paymentId }
    const result = await outgoing.call({
      method: 'POST',
      path: '/charges',
      body,
      idempotencyKey: `charge:${paymentId}`,
      trace,
      signal,
    })
    if (result.kind !== 'answered') return { kind: 'again', reason: result.error.message }
    if (result.status >= 400) {
      // Only a token that the provider does not know is its word against the charge; anything else may have had an effect.
      const known = problem.safeParse(result.body)
      if (known.success && known.data.error.code === 'unknown-token') {
        return { kind: 'outcome', outcome: { kind: 'declined', reason: 'unknown-token' } }
      }
      return { kind: 'again', reason: `the provider refused the charge with ${result.status}` }
    }
    const { id, status, declineCode, createdAt } = readCharge(result.body, body)
    return {
      kind: 'outcome',
      outcome:
        status === 'captured'
          ? { kind: 'captured', chargeId: id, at: new Date(createdAt) }
          : { kind: 'declined', reason: declineCode ?? 'declined' },
    }
  },
  refund: async ({ paymentId, chargeId, amount, trace, signal }) => {
    const body = { charge: chargeId, amount, reference: paymentId }
    const result = await outgoing.call({
      method: 'POST',
      path: '/refunds',
      body,
      idempotencyKey: `refund:${paymentId}`,
      trace,
      signal,
    })
    if (result.kind !== 'answered') return { kind: 'again', reason: result.error.message }
    if (result.status >= 400) return { kind: 'again', reason: `the provider refused the refund with ${result.status}` }
    const { id, createdAt } = refundAnswer.parse(result.body)
    return { kind: 'outcome', outcome: { refundId: id, at: new Date(createdAt) } }
  },
})
