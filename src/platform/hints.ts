import type { RedisClient } from './redis.ts'

/** Words between the processes that may be lost: whoever does not hear one looks for itself a little later. */
export type Hints = {
  /** Says that something happened, the first time at once; the calls of the next few milliseconds are one word more. */
  send(name: string): void
  /** Calls `heard` when another process says so. */
  receive(name: string, heard: () => void): void
}

const coalesceMs = 2

/** Hints by Redis publish and subscribe. */
export const createHints = (redis: Pick<RedisClient, 'publish' | 'subscribe'>): Hints => {
  /** What was said a moment ago, and whether it has to be said again. */
  const said = new Map<string, { again: boolean }>()
  const own = Bun.randomUUIDv7()
  const send = (name: string): void => {
    const lately = said.get(name)
    if (lately) return void (lately.again = true)
    const now = { again: false }
    said.set(name, now)
    redis.publish(`${name}:hints`, own).catch(() => undefined)
    setTimeout(() => {
      said.delete(name)
      if (now.again) send(name)
    }, coalesceMs)
  }
  return {
    send,
    receive: (name, heard) =>
      void redis.subscribe(`${name}:hints`, {
        heard: (word) => {
          if (word !== own) heard()
        },
      }),
  }
}
