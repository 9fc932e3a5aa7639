/** Resolves after `ms` milliseconds, or at once when the signal aborts; never rejects. */
export const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const finish = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', finish)
      resolve()
    }
    const timer = setTimeout(finish, ms)
    signal?.addEventListener('abort', finish, { once: true })
  })

export type Backoff = { firstMs: number; maxMs: number }

/**
 * The wait in milliseconds before try number `attempt` (1 is the first retry): doubled each time up to `maxMs`,
 * then drawn between half and all of it so that those who failed together do not return together.
 */
export const backoffMs = (attempt: number, { firstMs, maxMs }: Backoff): number => {
  const ceiling = Math.min(maxMs, firstMs * 2 ** Math.min(attempt - 1, 30))
  return ceiling / 2 + (Math.random() * ceiling) / 2
}
