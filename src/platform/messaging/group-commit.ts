/**
 * Makes a function whose calls, while one run of `work` is under way, wait and share the next run, at most
 * `most` of them. Each call resolves or rejects with its run.
 */
export const createGroupCommit = <Item>(work: (items: Item[]) => Promise<void>, most = Infinity) => {
  let waiting: { item: Item; resolve: () => void; reject: (error: unknown) => void }[] = []
  let running = false
  const pump = async () => {
    running = true
    while (waiting.length > 0) {
      const taken = waiting.slice(0, most)
      waiting = waiting.slice(most)
      try {
        await work(taken.map(({ item }) => item))
        for (const { resolve } of taken) resolve()
      } catch (error) {
        for (const { reject } of taken) reject(error)
      }
    }
    running = false
  }
  return (item: Item): Promise<void> =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      if (!running) setImmediate(() => void (running || pump()))
    })
}
