import { z } from 'zod'

/** An amount of money in minor units, an integer below 2^53, and its ISO 4217 currency. */
export const money = z.object({
  amount: z.int().nonnegative(),
  currency: z.string().regex(/^[A-Z]{3}$/, 'must be three capital letters'),
})

export type Money = z.infer<typeof money>
