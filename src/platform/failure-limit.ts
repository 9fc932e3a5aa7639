import type { RedisClient } from './redis.ts'

export type FailureLimit = {
  /** How many seconds this name is locked for; 0 when it may try. */
  lockedSeconds(name: string): Promise<number>
  failed(name: string): Promise<void>
  forget(name: string): Promise<void>
}

export type FailureLimitOptions = { redis: RedisClient; prefix: string; max: number; windowMs: number }

/** A name may be personal data, and Redis keys are not the place for it. */
export const counterKey = (prefix: string, name: string): string =>
  `${prefix}:${new Bun.CryptoHasher('sha256').update(name).digest('hex').slice(0, 32)}`

/** Counts failures under a name in Redis; `max` of them within `windowMs` lock the name until the window has passed. */
export const createFailureLimit = ({ redis, prefix, max, windowMs }: FailureLimitOptions): FailureLimit => {
  const keyOf = (name: string) => counterKey(prefix, name)
  return {
    lockedSeconds: async (name) => {
      const [stored] = await redis.get([keyOf(name)])
      if (Number(stored ?? 0) < max) return 0
      return Math.max(1, Math.ceil((await redis.leftMs(keyOf(name))) / 1_000))
    },
    failed: async (name) => {
      await redis.increment(keyOf(name), windowMs)
    },
    forget: async (name) => redis.delete([keyOf(name)]),
  }
}
