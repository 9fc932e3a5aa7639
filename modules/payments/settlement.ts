import { z } from 'zod'

/** What a period, or a part of it, came to in one currency; amounts in minor units. */
export const total = z.object({
  currency: z.string(),
  captured: z.int(),
  refunded: z.int(),
  net: z.int(),
  payments: z.int(),
})

export type Total = z.infer<typeof total>

export type Period = { from: string; to: string }

export const settlementKind = 'settlement'

/** A period is summed up in this many parts, spread over the partitions. */
export const slices = 24

/** One part of a period: half-open like the period itself, so that the parts meet without a gap or an overlap. */
export const sliceOf = ({ from, to }: Period, slice: number, count: number): Period => {
  const start = Date.parse(from)
  const length = Date.parse(to) - start
  const edge = (index: number) => new Date(start + Math.floor((length * index) / count)).toISOString()
  return { from: edge(slice), to: edge(slice + 1) }
}

/** Adds up the totals of parts, in whatever order they come; sorted by currency. */
export const addUp = (parts: Total[][]): Total[] => {
  const sums = new Map<string, Total>()
  for (const part of parts.flat()) {
    const sum = sums.get(part.currency) ?? { currency: part.currency, captured: 0, refunded: 0, net: 0, payments: 0 }
    sums.set(part.currency, {
      currency: part.currency,
      captured: sum.captured + part.captured,
      refunded: sum.refunded + part.refunded,
      net: sum.net + part.net,
      payments: sum.payments + part.payments,
    })
  }
  return [...sums.values()].toSorted((a, b) => (a.currency < b.currency ? -1 : 1))
}
