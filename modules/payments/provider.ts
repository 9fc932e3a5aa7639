import { z } from 'zod'
import type { CallResult } from '#platform/calls'
import type { Outgoing } from '#platform/outgoing'
import type { Money } from '#platform/money'

/** `at` is the provider's own time, so that a period holds the same movements here and there. */
export type ChargeOutcome = { kind: 'captured'; chargeId: string; at: Date } | { kind: 'declined'; reason: string }

/** The payment provider as this module sees it. Every request carries a key derived from the payment, so a repeat finds the first. */
export type Provider = {
  charge(charge: {
    paymentId: string
    token: string
    amount: Money
    signal: AbortSignal
  }): Promise<CallResult<ChargeOutcome>>
  refund(refund: {
    paymentId: string
    chargeId: string
    amount: number
    signal: AbortSignal
  }): Promise<CallResult<{ refundId: string; at: Date }>>
}

const chargeAnswer = z.object({
  id: z.string(),
  createdAt: z.iso.datetime(),
  status: z.enum(['captured', 'declined']),
  declineCode: z.string().nullish(),
})

const refundAnswer = z.object({ id: z.string(), createdAt: z.iso.datetime() })

const problem = z.object({ error: z.object({ code: z.string() }) })

export const createProvider = (outgoing: Outgoing): Provider => ({
  charge: async ({ paymentId, token, amount, signal }) => {
    const body = { token, ...amount, reference: paymentId }
    const result = await outgoing.call({
      method: 'POST',
      path: '/charges',
      body,
      idempotencyKey: `charge:${paymentId}`,
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
    const { id, status, declineCode, createdAt } = chargeAnswer.parse(result.body)
    return {
      kind: 'outcome',
      outcome:
        status === 'captured'
          ? { kind: 'captured', chargeId: id, at: new Date(createdAt) }
          : { kind: 'declined', reason: declineCode ?? 'declined' },
    }
  },
  refund: async ({ paymentId, chargeId, amount, signal }) => {
    const body = { charge: chargeId, amount, reference: paymentId }
    const result = await outgoing.call({
      method: 'POST',
      path: '/refunds',
      body,
      idempotencyKey: `refund:${paymentId}`,
      signal,
    })
    if (result.kind !== 'answered') return { kind: 'again', reason: result.error.message }
    if (result.status >= 400) return { kind: 'again', reason: `the provider refused the refund with ${result.status}` }
    const { id, createdAt } = refundAnswer.parse(result.body)
    return { kind: 'outcome', outcome: { refundId: id, at: new Date(createdAt) } }
  },
})
