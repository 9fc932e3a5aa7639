import { expect, setDefaultTimeout, test } from 'bun:test'
import { SQL } from 'bun'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pidFile, profileFolder, root } from '../../scripts/services/paths.ts'
import { runningProcess, startOf } from '../../scripts/services/process.ts'
import { profileOfRun } from '../../scripts/services/test-run.ts'
import { testServices } from './services.ts'

setDefaultTimeout(60_000)

const fixture = (folder: string, name: string, body: string) =>
  writeFileSync(
    join(folder, `${name}.test.ts`),
    `import { test } from 'bun:test'
    import { testServices } from ${JSON.stringify(join(import.meta.dir, 'services.ts'))}
    import { appendFileSync } from 'node:fs'
    const environment = await testServices()
    const run = process.env.BUN_TEST_WORKER_ID ? process.ppid : process.pid
    appendFileSync(${JSON.stringify(join(folder, 'said'))}, JSON.stringify({ run, ...environment }) + '\\n')
    test('it', async () => { ${body} }, 60_000)`,
  )

type Said = { run: number; DATABASE_URL: string }

const said = (folder: string): Said[] => {
  const file = join(folder, 'said')
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line): Said => JSON.parse(line))
}

const eventually = async (holds: () => boolean, limitMs = 60_000) => {
  const deadline = Date.now() + limitMs
  while (!holds()) {
    if (Date.now() > deadline) throw new Error('it did not come about in time')
    await Bun.sleep(20)
  }
}

const runTests = (folder: string, flags: string[], variables: Record<string, string> = {}) => {
  const env: Record<string, string | undefined> = { ...process.env, ...variables }
  delete env['BUN_TEST_WORKER_ID']
  // An engine that does not answer, so that the servers are processes and can be watched.
  writeFileSync(join(folder, 'docker'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
  env['PATH'] = `${folder}:${env['PATH']}`
  return Bun.spawn([process.execPath, 'test', ...flags, '.'], { cwd: folder, env, stdout: 'ignore', stderr: 'ignore' })
}

const inFolder = async (work: (folder: string) => Promise<void>) => {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-run-'))
  try {
    await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const isGone = (run: number) => !existsSync(profileFolder(profileOfRun(run)))

test('a run has one of each service, however often it asks', async () => {
  const [first, second] = await Promise.all([testServices(), testServices()])
  expect(second).toEqual(first)
})

for (const flag of ['--isolate', '--parallel=2']) {
  test(`all files of a run with ${flag} share its services, which go when it ends in failure`, () =>
    inFolder(async (folder) => {
      fixture(folder, 'one', 'throw new Error("on purpose")')
      fixture(folder, 'two', '')
      expect(await runTests(folder, [flag]).exited).toBe(1)
      const [one, two, ...more] = said(folder)
      expect(more).toEqual([])
      expect(two).toEqual(one as Said)
      await eventually(() => isGone(one?.run ?? 0))
    }))
}

test('the services of a run that is killed stop, with the servers of its tests, and their data goes', () =>
  inFolder(async (folder) => {
    const own = `const { ownServer } = await import(${JSON.stringify(join(import.meta.dir, 'own-server.ts'))})
      const { redis } = await import(${JSON.stringify(join(root, 'scripts/services/redis.ts'))})
      await ownServer(redis, 'own')
      await Bun.sleep(60_000)`
    fixture(folder, 'endless', own)
    const run = runTests(folder, [])
    const pidOf = (profile: string, name: string) => runningProcess(pidFile(profile, name))?.pid
    await eventually(() => pidOf(`${profileOfRun(run.pid)}-own`, 'redis') !== undefined)
    const names = ['postgres', 'broker', 'redis', 'provider']
    const shared = names.flatMap((name) => pidOf(profileOfRun(run.pid), name) ?? [])
    const pids = [...shared, pidOf(`${profileOfRun(run.pid)}-own`, 'redis') ?? 0]
    run.kill('SIGKILL')
    await eventually(() => isGone(run.pid) && !existsSync(profileFolder(`${profileOfRun(run.pid)}-own`)))
    expect(pids.map((pid) => startOf(pid))).toEqual(pids.map(() => undefined))
  }))

test('on a given Postgres a run has a database of its own, and drops it', () =>
  inFolder(async (folder) => {
    const { DATABASE_URL, KAFKA_BROKERS, REDIS_URL, PAYMENT_PROVIDER_URL } = await testServices()
    fixture(folder, 'given', '')
    const run = runTests(folder, [], { DATABASE_URL, KAFKA_BROKERS, REDIS_URL, PAYMENT_PROVIDER_URL })
    expect(await run.exited).toBe(0)
    expect(new URL(said(folder)[0]?.DATABASE_URL ?? '').pathname).toBe(`/bulkhead_test_${run.pid}`)
    await eventually(() => isGone(run.pid))
    const sql = new SQL(DATABASE_URL, { max: 1 })
    const left: unknown[] = await sql`select 1 from pg_database where datname = ${`bulkhead_test_${run.pid}`}`
    await sql.close()
    expect([...left]).toEqual([])
  }))

test('what a killed owner left behind is removed by the next run', () =>
  inFolder(async (folder) => {
    fixture(folder, 'endless', 'await Bun.sleep(60_000)')
    const run = runTests(folder, [])
    await eventually(() => said(folder).length === 1)
    const redis = runningProcess(pidFile(profileOfRun(run.pid), 'redis'))
    const { owner }: { owner: number } = JSON.parse(
      readFileSync(join(profileFolder(profileOfRun(run.pid)), 'run.json'), 'utf8'),
    )
    process.kill(owner, 'SIGKILL')
    run.kill('SIGKILL')
    await run.exited
    expect(redis && startOf(redis.pid)).toBeDefined()
    rmSync(join(folder, 'endless.test.ts'))
    fixture(folder, 'next', '')
    expect(await runTests(folder, []).exited).toBe(0)
    expect(isGone(run.pid)).toBe(true)
    expect(redis && startOf(redis.pid)).toBeUndefined()
  }))
