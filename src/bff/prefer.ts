import type { Context } from 'hono'
import { DomainError, isTransient } from '#platform/errors'
import type { Ear } from '#platform/news'
import { sleep } from '#platform/retry'
import type { Waits } from './call.ts'

export const maxWaitSeconds = 30

/** How long the client would rather wait than be told that it is being done (RFC 7240, `wait`); 0 when it does not say. */
export const preferredSeconds = (prefer: string | undefined): number => {
  if (prefer === undefined) return 0
  const [, seconds] = /(?:^|,)\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)/i.exec(prefer) ?? []
  return Math.min(Number(seconds ?? 0), maxWaitSeconds)
}

/** What a client may wait for. */
export type Awaitable<Found> = {
  /** The snapshot whose news are waited for. */
  key: string
  /** Finds nothing as long as it has not come. */
  look(): Promise<Found | undefined>
}

/** Nothing says that Redis is whole again after a rebuild, nor anything at all when it takes no subscriptions. */
const defaultLookEveryMs = 1_000

/**
 * What is found once there is something, if the client prefers to wait and it comes in time; undefined otherwise, also when
 * the client has left, the process stops, or too many wait already. It looks when the snapshot has changed, and now and then;
 * what is not there or does not answer is looked for again.
 */
export const awaitPreferred = async <Found>(
  c: Context,
  { load, stopping, news, lookEveryMs = defaultLookEveryMs }: Waits,
  { key, look }: Awaitable<Found>,
): Promise<Found | undefined> => {
  const seconds = preferredSeconds(c.req.header('prefer'))
  if (seconds === 0) return undefined
  return load.aside(async () => {
    c.header('Preference-Applied', `wait=${seconds}`)
    const deadline = performance.now() + seconds * 1_000
    const ended = AbortSignal.any([stopping, c.req.raw.signal])
    const ear = await news.listen([key]).catch(deafUnlessFault)
    try {
      for (;;) {
        ear.forget()
        const found = await look().catch(notYet)
        const leftMs = deadline - performance.now()
        if (found !== undefined || leftMs <= 0 || ended.aborted) return found
        await ear.changed(Math.min(lookEveryMs, leftMs), ended)
      }
    } finally {
      ear.close()
    }
  })
}

const deaf: Ear = { forget: () => undefined, changed: sleep, close: () => undefined }

const deafUnlessFault = (error: unknown): Ear => {
  if (isTransient(error)) return deaf
  throw error
}

const notYet = (error: unknown): undefined => {
  if (error instanceof DomainError || isTransient(error)) return undefined
  throw error
}
