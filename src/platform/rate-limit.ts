import { TooManyAttemptsError, UnavailableError } from './errors.ts'
import { counterKey } from './failure-limit.ts'
import type { RedisClient } from './redis.ts'

export type RateLimit = {
  /**
   * Counts one attempt under this name. While Redis is away nothing is counted and everything is let through.
   * @throws TooManyAttemptsError when there were more than `max` within the window, with the seconds until it ends
   */
  take(name: string): Promise<void>
}

export type RateLimitOptions = {
  redis: Pick<RedisClient, 'increment'>
  prefix: string
  max: number
  windowMs: number
  /** What there was too much of, for the client. */
  refusal: string
}

/** Lets `max` attempts a name through in each window, which begins with the first; all processes count together. */
export const createRateLimit = ({ redis, prefix, max, windowMs, refusal }: RateLimitOptions): RateLimit => ({
  take: async (name) => {
    const counted = await redis.increment(counterKey(prefix, name), windowMs).catch(uncounted)
    if (!counted || counted.count <= max) return
    throw new TooManyAttemptsError(refusal, Math.max(1, Math.ceil(counted.leftMs / 1_000)))
  },
})

const uncounted = (error: unknown): undefined => {
  if (error instanceof UnavailableError) return undefined
  throw error
}
