import { within } from './deadline.ts'
import { UnavailableError, isTransient } from './errors.ts'
import type { RedisClient } from './redis.ts'

/** Hears that snapshots have changed, whichever process wrote them. */
export type Ear = {
  /** From now on `changed` waits for what is said after this. */
  forget(): void
  /** Resolves when something was said since the last `forget`, after `withinMs`, or when the signal aborts. */
  changed(withinMs: number, signal: AbortSignal): Promise<void>
  close(): void
}

export type News = {
  /**
   * Listens for newer versions under these keys; nothing that is written after it resolves is missed, since a connection
   * that was lost and stands again counts as a change.
   * @throws UnavailableError when Redis does not answer within a second
   */
  listen(keys: string[]): Promise<Ear>
}

const answerMs = 1_000

/** News of snapshots by Redis publish and subscribe: each key is a channel, and Redis says on it what it has stored. */
export const createNews = (redis: Pick<RedisClient, 'subscribe'>): News => ({
  listen: async (keys) => {
    let changed = false
    let wake = () => {}
    const note = () => {
      changed = true
      wake()
    }
    const subscriptions = keys.map((key) => redis.subscribe(key, { heard: note, missed: note }))
    const close = () => subscriptions.forEach((subscription) => subscription.end())
    const refused = () => new UnavailableError('Redis does not take subscriptions.')
    try {
      await within(Promise.all(subscriptions.map((subscription) => subscription.standing)), answerMs, refused)
    } catch {
      close()
      throw refused()
    }
    return {
      forget: () => {
        changed = false
      },
      changed: (withinMs, signal) =>
        new Promise((resolve) => {
          const timer = setTimeout(() => wake(), withinMs)
          wake = () => {
            clearTimeout(timer)
            signal.removeEventListener('abort', wake)
            wake = () => {}
            resolve()
          }
          if (changed || signal.aborted) wake()
          else signal.addEventListener('abort', wake)
        }),
      close,
    }
  },
})

export type Followed<Thing> = {
  /** The snapshots whose news are waited for. */
  keys: string[]
  /** Looks at the present state. What it throws ends the following, unless a service is away for a while. */
  read(): Promise<Thing>
  /** Looks again then at the latest. */
  until: Date
  /** Ends the following. */
  signal: AbortSignal
  /** So often it looks without having heard anything. */
  lookEveryMs?: number
}

/** After a look that failed because a service is away. */
const retryMs = 500

/**
 * The present state, then each newer version that there is when the reader asks: never an older one and none twice. A reader
 * that is slow is given the newest and skips what was in between, so nothing piles up for it.
 * @throws UnavailableError when Redis is away at the beginning; what `read` throws
 */
export async function* follow<Thing extends { version: number }>(
  news: News,
  { keys, read, until, signal, lookEveryMs = 10_000 }: Followed<Thing>,
): AsyncGenerator<Thing, void> {
  const ear = await news.listen(keys)
  try {
    let version = 0
    while (!signal.aborted) {
      ear.forget()
      const found = await read().catch((error: unknown) => {
        if (version > 0 && isTransient(error)) return undefined
        throw error
      })
      if (found && found.version > version) {
        version = found.version
        yield found
      }
      const leftMs = Math.max(0, until.getTime() - Date.now())
      await ear.changed(found ? Math.min(lookEveryMs, leftMs) : retryMs, signal)
    }
  } finally {
    ear.close()
  }
}
