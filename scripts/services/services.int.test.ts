import { afterAll, afterEach, expect, setDefaultTimeout, test } from 'bun:test'
import { RedisClient, SQL } from 'bun'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { servicesRemove, servicesDown, servicesStatus, servicesUp, startServices } from './index.ts'
import { brokerIsReady } from './metadata-request.ts'
import { pidFile, profileFolder } from './paths.ts'
import { runningProcess } from './process.ts'

setDefaultTimeout(60_000)

// Services of its own, whatever the environment names.
const env = {}
const profile = `test-${process.pid}-services`
const folder = mkdtempSync(join(tmpdir(), 'bulkhead-services-'))
const names = ['postgres', 'broker', 'redis', 'provider']

const docker = (script: string) => writeFileSync(join(folder, 'docker'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })

// An engine that does not answer, also where there is one: these tests watch the native servers' processes.
const path = process.env['PATH']
docker('exit 1')
process.env['PATH'] = `${folder}:${path}`

afterEach(() => servicesRemove(profile))
afterAll(() => {
  process.env['PATH'] = path
  rmSync(folder, { recursive: true, force: true })
})

const processes = () => names.map((name) => runningProcess(pidFile(profile, name))?.pid)

/** Runs `servicesUp` in a process of its own, as a command does. */
const upElsewhere = (variables: Record<string, string | undefined> = {}) => {
  const script = `
    import { ServiceFailure, servicesUp } from ${JSON.stringify(join(import.meta.dir, 'index.ts'))}
    try { await servicesUp(${JSON.stringify(profile)}) }
    catch (error) { console.error(error instanceof ServiceFailure ? error.message : error); process.exit(error.exitCode ?? 99) }`
  const given = {
    ...process.env,
    DATABASE_URL: '',
    KAFKA_BROKERS: '',
    REDIS_URL: '',
    PAYMENT_PROVIDER_URL: '',
    ...variables,
  }
  return Bun.spawn([process.execPath, '-e', script], { env: given, stdout: 'ignore', stderr: 'pipe' })
}

const countUp = async (environment: { DATABASE_URL: string; REDIS_URL: string; PAYMENT_PROVIDER_URL: string }) => {
  const sql = new SQL(environment.DATABASE_URL, { max: 1 })
  await sql`create table if not exists visits (id int)`
  await sql`insert into visits values (1)`
  const rows: { count: number }[] = await sql`select count(*)::int as count from visits`
  await sql.close()
  const redis = new RedisClient(environment.REDIS_URL)
  const inRedis = await redis.incr('visits')
  redis.close()
  const provider = environment.PAYMENT_PROVIDER_URL
  await fetch(`${provider}/charges`, {
    method: 'POST',
    headers: { 'idempotency-key': crypto.randomUUID() },
    body: JSON.stringify({ token: 'tok_visa', amount: 1, currency: 'EUR', reference: 'a visit' }),
  })
  const ledger = (await (await fetch(`${provider}/ledger`)).json()) as { items: unknown[] }
  return [rows[0]?.count, inRedis, ledger.items.length]
}

test('what comes up is reached, survives a stop, and survives a kill -9 of everything', async () => {
  const first = await startServices(profile, { env })
  expect(first.started).toEqual(names)
  expect(await countUp(first.environment)).toEqual([1, 1, 1])
  expect(await brokerIsReady(Number(first.environment.KAFKA_BROKERS.split(':')[1]))).toBe(true)
  const running = processes()

  expect(await startServices(profile, { env })).toEqual({ environment: first.environment, started: [] })
  expect(processes()).toEqual(running)

  expect(await servicesDown(profile)).toEqual(names)
  expect(processes()).toEqual([undefined, undefined, undefined, undefined])
  expect(await servicesStatus(profile, { env })).toMatchObject({ up: false })

  expect(await servicesUp(profile, { env })).toEqual(first.environment)
  expect(await countUp(first.environment)).toEqual([2, 2, 2])

  // Redis writes its log to the disk once a second.
  await Bun.sleep(1100)
  for (const pid of processes()) process.kill(pid ?? 0, 'SIGKILL')
  expect(await servicesUp(profile, { env })).toEqual(first.environment)
  expect(await countUp(first.environment)).toEqual([3, 3, 3])
})

test('a start that is killed half-way is completed by the next, with no server twice', async () => {
  const half = upElsewhere()
  while (!runningProcess(pidFile(profile, 'broker'))) await Bun.sleep(5)
  half.kill('SIGKILL')
  await half.exited
  const left = processes()
  expect(left[1]).toBeDefined()
  await servicesUp(profile, { env })
  for (const [index, pid] of left.entries()) if (pid) expect(processes()[index]).toBe(pid)
})

test('two starts at once end with the same services', async () => {
  const both = [upElsewhere(), upElsewhere()]
  expect(await Promise.all(both.map((one) => one.exited))).toEqual([0, 0])
  expect((await servicesStatus(profile, { env })).up).toBe(true)
})

test('Ctrl-C during a start stops what it had started', async () => {
  const start = upElsewhere()
  while (!runningProcess(pidFile(profile, 'redis'))) await Bun.sleep(5)
  start.kill('SIGINT')
  expect(await start.exited).toBe(130)
  expect(processes()).toEqual([undefined, undefined, undefined, undefined])
})

test('a port that somebody took in the meantime is replaced', async () => {
  const before = await servicesUp(profile, { env })
  await servicesDown(profile)
  const port = Number(new URL(before.DATABASE_URL).port)
  const thief = Bun.listen({ hostname: '127.0.0.1', port, socket: { data() {} } })
  const after = await servicesUp(profile, { env }).finally(() => thief.stop(true))
  expect(new URL(after.DATABASE_URL).port).not.toBe(String(port))
  expect(after.REDIS_URL).toBe(before.REDIS_URL)
})

test('an address in the environment is passed through, and that service is not started', async () => {
  const given = { KAFKA_BROKERS: 'elsewhere:9092', DATABASE_URL: 'postgres://owner@elsewhere/app' }
  const environment = await servicesUp(profile, { env: given })
  expect(environment).toMatchObject(given)
  expect(processes().map(Boolean)).toEqual([false, false, true, true])
  await servicesDown(profile)

  const provider = { ...given, PAYMENT_PROVIDER_URL: 'https://payments.example/v1' }
  expect(await servicesUp(profile, { env: provider })).toMatchObject(provider)
  expect(processes().map(Boolean)).toEqual([false, false, true, false])
  const { services } = await servicesStatus(profile, { env: provider })
  expect(services.map(({ name, from }) => `${name}: ${from}`)).toEqual([
    'postgres: environment',
    'broker: environment',
    'redis: native',
    'provider: environment',
  ])
})

test('without Java, or with one too old, one line says what to install or set, and nothing is left running', async () => {
  const bare = join(folder, 'bare')
  mkdirSync(bare)
  symlinkSync(Bun.which('sh') ?? '/bin/sh', join(bare, 'sh'))
  const elsewhere = { DATABASE_URL: 'postgres://owner@elsewhere/app', REDIS_URL: 'redis://elsewhere' }
  const nothing = { JAVA_HOME: '', PATH: bare, ...elsewhere }
  const without = upElsewhere(nothing)
  expect(await new Response(without.stderr).text()).toMatch(
    /^Java 17 or later is needed .*install.* or set KAFKA_BROKERS.*\n$/,
  )
  expect(await without.exited).toBe(1)

  writeFileSync(join(bare, 'java'), '#!/bin/sh\necho \'openjdk version "11.0.2" 2019-01-15\' >&2\n', { mode: 0o755 })
  const old = upElsewhere(nothing)
  expect(await new Response(old.stderr).text()).toMatch(/^Java 17 or later is needed .* is 11: install.*\n$/)
  expect(await old.exited).toBe(1)
  expect(processes()).toEqual([undefined, undefined, undefined, undefined])
})

test('a server that ends at its start is named with its last words and its log', async () => {
  await servicesUp(profile, { env: { KAFKA_BROKERS: 'x:1', DATABASE_URL: 'postgres://x' } })
  await servicesDown(profile)
  const data = join(profileFolder(profile), 'redis', 'data')
  const logs = [...new Bun.Glob('**/*.aof').scanSync(data)]
  expect(logs).not.toEqual([])
  for (const log of logs) writeFileSync(join(data, log), 'this is no append-only file\n'.repeat(100))
  const start = upElsewhere({ KAFKA_BROKERS: 'x:1', DATABASE_URL: 'postgres://x' })
  expect(await new Response(start.stderr).text()).toMatch(
    /^Redis ended at its start \(.*\); its log: .*redis\.log; or set REDIS_URL/,
  )
  expect(await start.exited).toBe(1)
})

test('where a Docker engine answers, compose runs them, and the passwords are this clone’s', async () => {
  const calls = join(folder, 'docker-calls')
  docker(`echo "$BULKHEAD_POSTGRES_PORT $BULKHEAD_POSTGRES_PASSWORD $*" >>${calls}`)
  const url = new URL((await servicesUp(profile, { env })).DATABASE_URL)
  await servicesRemove(profile)
  const lines = readFileSync(calls, 'utf8').trim().split('\n')
  const composed = lines.filter((line) => line.includes('compose.yaml'))
  expect(composed.map((line) => line.replace(/.* -p \S+ /, ''))).toEqual([
    'down --remove-orphans --volumes',
    'up --detach --wait postgres broker redis',
    'down --remove-orphans --volumes',
  ])
  expect(composed[1]).toStartWith(`${url.port} ${url.password} `)
  expect(processes()).toEqual([undefined, undefined, undefined, undefined])
})
