import type { Database } from 'bun:sqlite'

type Waiting = { work: () => void; settle: (failure?: { error: unknown }) => void }

/**
 * Runs works in transactions that they share: those that arrive while one is being written to the disk go into the next, so
 * that a thousand calls a second cost far fewer flushes. A work is settled after its commit, so what a caller was told is on
 * the disk. Works run one after the other; one that throws rolls all of its transaction back.
 */
export const createGroupCommit = (database: Database) => {
  let waiting: Waiting[] = []
  const runAll = database.transaction((batch: Waiting[]) => {
    for (const { work } of batch) work()
  })

  const commit = () => {
    const batch = waiting
    waiting = []
    let failure: { error: unknown } | undefined
    try {
      runAll.immediate(batch)
    } catch (error) {
      failure = { error }
    }
    for (const { settle } of batch) settle(failure)
  }

  return <Result>(work: () => Result): Promise<Result> => {
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    let result: Result
    waiting.push({
      work: () => {
        result = work()
      },
      settle: (failure) => (failure ? reject(failure.error) : resolve(result)),
    })
    // After the requests that have arrived already are read.
    if (waiting.length === 1) setImmediate(commit)
    return promise
  }
}
