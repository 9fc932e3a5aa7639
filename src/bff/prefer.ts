import type { Context } from 'hono'
import { DomainError, isTransient } from '#platform/errors'
import { sleep } from '#platform/retry'
import type { Waits } from './call.ts'

export const maxWaitSeconds = 30

/** How long the client would rather wait than be told that it is being done (RFC 7240, `wait`); 0 when it does not say. */
export const preferredSeconds = (prefer: string | undefined): number => {
  if (prefer === undefined) return 0
  const [, seconds] = /(?:^|,)\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)/i.exec(prefer) ?? []
  return Math.min(Number(seconds ?? 0), maxWaitSeconds)
}

/**
 * What `look` finds once it finds something, if the client prefers to wait and it comes in time; undefined otherwise, also
 * when the client has left, the process stops, or too many wait already. What is not there or does not answer is looked for
 * again.
 */
export const awaitPreferred = async <Found>(
  c: Context,
  { load, stopping }: Waits,
  look: () => Promise<Found | undefined>,
): Promise<Found | undefined> => {
  const seconds = preferredSeconds(c.req.header('prefer'))
  if (seconds === 0) return undefined
  return load.aside(async () => {
    c.header('Preference-Applied', `wait=${seconds}`)
    const deadline = performance.now() + seconds * 1_000
    for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 1.5, 100)) {
      const found = await look().catch(notYet)
      if (found !== undefined) return found
      const leftMs = deadline - performance.now()
      if (leftMs <= 0 || stopping.aborted || c.req.raw.signal.aborted) return undefined
      await sleep(Math.min(pauseMs, leftMs))
    }
  })
}

const notYet = (error: unknown): undefined => {
  if (error instanceof DomainError || isTransient(error)) return undefined
  throw error
}
