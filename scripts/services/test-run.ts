import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { bulkheadFolder, profileFolder } from './paths.ts'
import { startOf } from './process.ts'
import { writeWhole } from './state.ts'
import type { ServiceEnvironment } from './service.ts'

/** One run of the tests: the process that ends when the run does. */
export type TestRun = { pid: number; start: string }

/** What the owner of a run's services tells the run. */
export type Ready = { start: string; environment: ServiceEnvironment } | { start: string; failure: string }

/** The run that this process belongs to. With `bun test --parallel` it is a worker, and its parent is the run. */
export const currentRun = (): TestRun => {
  const pid = process.env['BUN_TEST_WORKER_ID'] ? process.ppid : process.pid
  return { pid, start: startOf(pid) ?? '' }
}

export const profileOfRun = (pid: number) => `test-${pid}`
export const ownerLock = (pid: number) => `${profileOfRun(pid)}-owner`
export const ownerLog = (pid: number) => join(bulkheadFolder, `${profileOfRun(pid)}.log`)
const readyFile = (pid: number) => join(profileFolder(profileOfRun(pid)), 'ready.json')

export const announce = (pid: number, ready: Ready) => writeWhole(readyFile(pid), JSON.stringify(ready))

/** What the owner said; a file that an earlier process with this id left behind does not count. */
export const announced = (run: TestRun): Ready | undefined => {
  const file = readyFile(run.pid)
  if (!existsSync(file)) return undefined
  const ready: Ready = JSON.parse(readFileSync(file, 'utf8'))
  return ready.start === run.start ? ready : undefined
}
