import { OverloadedError } from '#platform/errors'

/** How much is worked on at once. */
export type Load = {
  /** Runs a request's work, which counts until it ends. @throws OverloadedError when there is too much already */
  admit<T>(work: () => Promise<T>): Promise<T>
  /** Runs what only waits for others, and meanwhile leaves the request's place to another; undefined when too many wait. */
  aside<T>(wait: () => Promise<T>): Promise<T | undefined>
}

/** At most `max` requests are worked on, and as many again may wait. */
export const createLoad = (max: number): Load => {
  let working = 0
  let waiting = 0
  return {
    admit: async (work) => {
      if (working >= max) throw new OverloadedError('Too many requests at once.')
      working += 1
      try {
        return await work()
      } finally {
        working -= 1
      }
    },
    aside: async (wait) => {
      if (waiting >= max) return undefined
      waiting += 1
      working -= 1
      try {
        return await wait()
      } finally {
        waiting -= 1
        working += 1
      }
    },
  }
}
