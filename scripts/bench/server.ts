import { join } from 'node:path'
import { parseMigrateConfig } from '../../src/config.ts'
import { sleep } from '#platform/retry'
import { migrate } from '../migrate.ts'
import { root } from '../services/paths.ts'
import { resultsFolder } from './environment.ts'
import type { Bench } from './scenario.ts'

const startLimitMs = 30_000
const logFile = join(resultsFolder, 'server.log')

export type Server = {
  pid: number
  url: string
  /** From the spawn to the first 200 of the path that was asked for. */
  startedAfterMs: number
  stop(): Promise<void>
}

const freePort = async (): Promise<number> => {
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response() })
  const { port = 0 } = server
  await server.stop(true)
  return port
}

/** Spawns a server process and waits until `path` answers 200. */
const spawn = async (bench: Bench, script: string, path: string): Promise<Server> => {
  const port = String(await freePort())
  const spawnedAt = performance.now()
  const child = Bun.spawn([process.execPath, script], {
    cwd: root,
    env: { ...bench.environment, PORT: port },
    stdout: Bun.file(logFile),
    stderr: Bun.file(logFile),
  })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const stop = async () => {
    process.off('exit', kill)
    child.kill('SIGTERM')
    const killing = setTimeout(kill, 12_000)
    await child.exited
    clearTimeout(killing)
  }
  const url = `http://127.0.0.1:${port}`
  for (;;) {
    const status = await fetch(url + path).then(
      (response) => response.status,
      () => 0,
    )
    const tookMs = performance.now() - spawnedAt
    if (status === 200) return { pid: child.pid, url, startedAfterMs: tookMs, stop }
    if (child.exitCode !== null || tookMs > startLimitMs) {
      await stop()
      throw new Error(`${script} did not start; its log: ${logFile}`)
    }
    await sleep(5)
  }
}

/** The production process: `bun src/main.ts`. */
export const spawnOurs = (bench: Bench): Promise<Server> => spawn(bench, 'src/main.ts', '/readyz')

/** Hono with a Redis read, for the limits. */
export const spawnBare = (bench: Bench): Promise<Server> =>
  spawn(bench, 'scripts/bench/bare-server.ts', '/users/00000000-0000-7000-8000-000000000000')

export type SignedIn = { userId: string; token: string }

/** Sends JSON and answers with the JSON that comes back. @throws Error for any answer that is no success */
export const request = async (
  { url }: Server,
  method: string,
  path: string,
  { token, body }: { token?: string; body?: unknown } = {},
): Promise<Record<string, unknown>> => {
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`)
  return (await response.json()) as Record<string, unknown>
}

/** Registers somebody, signs in, and waits until the snapshot is there. */
export const signIn = async (server: Server): Promise<SignedIn> => {
  const account = { email: `${Bun.randomUUIDv7()}@example.com`, password: 'correct horse battery staple' }
  await request(server, 'POST', '/users', { body: { name: 'Ada Lovelace', ...account } })
  const session = await request(server, 'POST', '/sessions', { body: account })
  const [userId, token] = [String(session['userId']), String(session['token'])]
  for (let tries = 1; ; tries += 1) {
    const found = await request(server, 'GET', `/users/${userId}`, { token }).catch(() => undefined)
    if (found) return { userId, token }
    if (tries > 200) throw new Error(`GET /users/${userId} does not answer.`)
    await sleep(50)
  }
}

/** The token of the operator, whom other scenarios may have deleted with the users. */
export const signInOperator = async (server: Server, { environment }: Bench): Promise<string> => {
  await migrate(parseMigrateConfig(environment), () => undefined)
  const account = { email: environment['OPERATOR_EMAIL'], password: environment['OPERATOR_PASSWORD'] }
  return String((await request(server, 'POST', '/sessions', { body: account }))['token'])
}
