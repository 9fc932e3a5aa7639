import { Database } from 'bun:sqlite'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { interrupted } from './failure.ts'
import { bulkheadFolder } from './paths.ts'

const folder = join(bulkheadFolder, 'locks')
export const lockFile = (name: string) => join(folder, name)

/** Bun closes a database that nothing refers to any more, and its lock would go with it. */
const held = new Set<Database>()

export type Lock = { release: () => void }

/**
 * Takes a lock that the kernel holds for this process, or returns undefined when another has it. It is SQLite's
 * file lock because it cannot go stale: the kernel drops it with the process, kill -9 included.
 */
export const tryLock = (name: string): Lock | undefined => {
  mkdirSync(folder, { recursive: true })
  const database = new Database(lockFile(name))
  try {
    database.run('begin exclusive')
    held.add(database)
    const release = () => {
      held.delete(database)
      database.close()
    }
    return { release }
  } catch (error) {
    database.close()
    if (error instanceof Error && 'code' in error && String(error.code).startsWith('SQLITE_BUSY')) return undefined
    throw error
  }
}

/** Runs one at a time, across processes. */
export const withLock = async <Result>(
  name: string,
  work: () => Promise<Result>,
  { signal, onWait }: { signal?: AbortSignal; onWait?: () => void } = {},
): Promise<Result> => {
  let lock = tryLock(name)
  if (!lock) onWait?.()
  while (!lock) {
    if (signal?.aborted) throw interrupted()
    await Bun.sleep(50)
    lock = tryLock(name)
  }
  try {
    return await work()
  } finally {
    lock.release()
  }
}
