import { sleep } from '#platform/retry'

/** Repeats the check until it no longer throws and returns its answer; after `timeoutMs` throws what it threw last. */
export const eventually = async <T>(check: () => T | Promise<T>, timeoutMs = 10_000): Promise<T> => {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    try {
      return await check()
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(20)
    }
  }
}
