import type { RedisClient } from './redis.ts'

/** Words between the processes that may be lost: whoever does not hear one looks for itself a little later. */
export type Hints = {
  /** Says that something happened; the calls within a few milliseconds are one word. */
  send(name: string): void
  /** Calls `heard` when another process says so. */
  receive(name: string, heard: () => void): void
}

const coalesceMs = 2

/** Hints by Redis publish and subscribe. */
export const createHints = (redis: Pick<RedisClient, 'publish' | 'subscribe'>): Hints => {
  const pending = new Set<string>()
  const own = Bun.randomUUIDv7()
  return {
    send: (name) => {
      if (pending.has(name)) return
      pending.add(name)
      setTimeout(() => {
        pending.delete(name)
        redis.publish(`${name}:hints`, own).catch(() => undefined)
      }, coalesceMs)
    },
    receive: (name, heard) =>
      void redis.subscribe(`${name}:hints`, {
        heard: (word) => {
          if (word !== own) heard()
        },
      }),
  }
}
