import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ServiceFailure } from './failure.ts'
import { servicesRemove, servicesUp } from './index.ts'
import { lockFile, tryLock, withLock } from './lock.ts'
import { bulkheadFolder, profileFolder } from './paths.ts'
import { isAlive, startOf } from './process.ts'
import { writeWhole } from './state.ts'
import { createDatabase, dropDatabase, withDatabase } from './test-database.ts'
import { announce, ownerLock, ownerLog, profileOfRun, type TestRun } from './test-run.ts'

/** Written before anything is made, so that whoever finds the folder knows whose it is and what else to remove. */
type Belongings = TestRun & { owner: number; serverUrl?: string; database?: string }

const belongingsFile = (profile: string) => join(profileFolder(profile), 'run.json')

const belongingsOf = (profile: string): Belongings | undefined =>
  existsSync(belongingsFile(profile)) ? JSON.parse(readFileSync(belongingsFile(profile), 'utf8')) : undefined

const removeRun = async (profile: string, pid: number) => {
  const belongings = belongingsOf(profile)
  if (belongings?.serverUrl && belongings.database)
    await dropDatabase(belongings.serverUrl, belongings.database).catch((error: unknown) => console.error(error))
  await servicesRemove(profile)
  for (const file of [ownerLog(pid), lockFile(profile), lockFile(ownerLock(pid))]) rmSync(file, { force: true })
}

/** Removes what runs left behind whose owner was killed before it could. */
const sweep = () =>
  withLock('sweep', async () => {
    for (const profile of readdirSync(bulkheadFolder)) {
      // A test that starts services of its own calls its profile test-<pid>-<name>.
      const pid = Number(/^test-(\d+)(-[^.]+)?$/.exec(profile)?.[1])
      if (!pid) continue
      const belongings = belongingsOf(profile)
      const live = belongings ? isAlive(belongings) : startOf(pid) !== undefined
      if (!live) await removeRun(profile, pid)
    }
  })

const bringUp = async (run: TestRun, signal: AbortSignal) => {
  const profile = profileOfRun(run.pid)
  const serverUrl = process.env['DATABASE_URL']
  const database = `bulkhead_test_${run.pid}`
  mkdirSync(profileFolder(profile), { recursive: true })
  const belongings: Belongings = { ...run, owner: process.pid, ...(serverUrl ? { serverUrl, database } : {}) }
  writeWhole(belongingsFile(profile), JSON.stringify(belongings))
  if (serverUrl) {
    await dropDatabase(serverUrl, database)
    await createDatabase(serverUrl, database)
  }
  const env = serverUrl ? withDatabase(process.env, database) : process.env
  return servicesUp(profile, { env, progress: (line) => console.error(line), signal })
}

const own = async (run: TestRun) => {
  const lock = tryLock(ownerLock(run.pid))
  if (!lock) return
  const ended = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => ended.abort())
  const watch = setInterval(() => isAlive(run) || ended.abort(), 250)
  try {
    await sweep()
    announce(run.pid, { start: run.start, environment: await bringUp(run, ended.signal) })
  } catch (error) {
    console.error(error)
    const failure = error instanceof ServiceFailure ? error.message : String(error)
    // After a failure the folder stays, for its logs, until the next run sweeps it away.
    if (!ended.signal.aborted) {
      announce(run.pid, { start: run.start, failure })
      process.exit(1)
    }
  }
  while (!ended.signal.aborted) await Bun.sleep(50)
  clearInterval(watch)
  await removeRun(profileOfRun(run.pid), run.pid)
  // A run that was killed leaves the servers that its tests had of their own.
  await sweep().catch((error: unknown) => console.error(error))
  process.exit(0)
}

const [pid = '', start = ''] = process.argv.slice(2)
await own({ pid: Number(pid), start })
