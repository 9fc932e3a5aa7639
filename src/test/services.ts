import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { ServiceEnvironment } from '../../scripts/services/index.ts'
import { tryLock } from '../../scripts/services/lock.ts'
import { bulkheadFolder, root } from '../../scripts/services/paths.ts'
import { announced, currentRun, ownerLock, ownerLog, type TestRun } from '../../scripts/services/test-run.ts'

// A first run on a machine fetches the servers.
const limitMs = 10 * 60_000
const ownerStartMs = 10_000

/**
 * Starts the process that holds the services, unless the run has one: a second owner ends by itself. It is a grandchild,
 * because `bun test --isolate` kills the children of a file when that file ends.
 */
const startOwner = (run: TestRun) => {
  mkdirSync(bulkheadFolder, { recursive: true })
  const log = openSync(ownerLog(run.pid), 'a', 0o600)
  const owner = [process.execPath, join(root, 'scripts/services/test-owner.ts'), String(run.pid), run.start]
  spawn('sh', ['-c', '"$0" "$@" &', ...owner], { cwd: root, detached: true, stdio: ['ignore', log, log] }).unref()
  closeSync(log)
}

const hasOwner = (run: TestRun): boolean => {
  const lock = tryLock(ownerLock(run.pid))
  lock?.release()
  return lock === undefined
}

const connect = async (): Promise<ServiceEnvironment> => {
  const run = currentRun()
  let ready = announced(run)
  if (!ready) startOwner(run)
  const started = Date.now()
  for (let checked = started + ownerStartMs; !ready; ready = announced(run)) {
    const now = Date.now()
    const failed = now > started + limitMs || (now > checked + 1000 && !hasOwner(run) && !announced(run))
    if (failed) throw new Error(`The services of the tests could not be started; see ${ownerLog(run.pid)}`)
    if (now > checked + 1000) checked = now
    await Bun.sleep(10)
  }
  if ('failure' in ready) throw new Error(ready.failure)
  return ready.environment
}

let connected: Promise<ServiceEnvironment> | undefined

/**
 * The variables that reach this run's own Postgres, broker, Redis and payment provider, all empty at first. The first
 * call of a run starts them, and a run that never calls has none. They go, with their data, when the run ends, however
 * it ends.
 * A service whose address is set in the environment is used instead; of a given Postgres, a database of this run's own.
 */
export const testServices = (): Promise<ServiceEnvironment> => (connected ??= connect())
