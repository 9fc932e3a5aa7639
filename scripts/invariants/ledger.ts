import { z } from 'zod'
import { UnavailableError } from '#platform/errors'
import type { Sources } from './invariant.ts'

const page = z.object({
  items: z.array(
    z.object({
      kind: z.enum(['capture', 'refund']),
      charge: z.string(),
      amount: z.int(),
      currency: z.string(),
      reference: z.string(),
    }),
  ),
  nextCursor: z.string().nullable(),
})

/** A charge as the provider has it; `reference` is what the charge was asked for with: the payment's id. */
export type Charge = { reference: string; amount: number; currency: string; refunded: number }

/** Every charge that the provider has captured, by its id. @throws UnavailableError when the ledger is not shown */
export const readLedger = async ({ provider }: Pick<Sources, 'provider'>): Promise<Map<string, Charge>> => {
  const charges = new Map<string, Charge>()
  for (let after: string | null = '0'; after !== null;) {
    const { items, nextCursor }: z.infer<typeof page> = await readPage(provider, after)
    for (const { kind, charge, amount, currency, reference } of items) {
      if (kind === 'capture') charges.set(charge, { reference, amount, currency, refunded: 0 })
      const held = charges.get(charge)
      if (kind === 'refund' && held) held.refunded += amount
    }
    after = nextCursor
  }
  return charges
}

const readPage = async (provider: Sources['provider'], after: string) => {
  const answer = await provider.call({ method: 'GET', path: `/ledger?after=${after}&limit=1000` })
  if (answer.kind !== 'answered')
    throw new UnavailableError(`The payment provider does not show its ledger: ${answer.error.message}.`)
  if (answer.status !== 200)
    throw new UnavailableError(`The payment provider does not show its ledger: it answered ${answer.status}.`)
  return page.parse(answer.body)
}
