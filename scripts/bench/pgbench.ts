import type { Bench, Tool } from './scenario.ts'

export const pgbenchTool: Tool = { program: 'pgbench', debianPackage: 'postgresql' }

const run = async (url: URL, ...options: string[]): Promise<string> => {
  const address = ['-h', url.hostname, '-p', url.port, '-U', url.username]
  const child = Bun.spawn(['pgbench', ...options, ...address, url.pathname.slice(1)], {
    env: { ...process.env, PGPASSWORD: decodeURIComponent(url.password) },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [said, complained] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  if ((await child.exited) !== 0) throw new Error(`pgbench failed: ${complained.trim().split('\n').at(-1)}`)
  return said
}

const rateOf = (said: string): number => {
  const rate = /tps = ([\d.]+) \(without/.exec(said)?.[1]
  if (!rate) throw new Error(`pgbench says no rate: ${said}`)
  return Number(rate)
}

const load = (clients: number, seconds: number): string[] =>
  `-n -M prepared -j 2 -c ${clients} -T ${seconds}`.split(' ')

/** Transactions a second of a script, as the module users. */
export const pgbenchScript = async (
  { config }: Bench,
  { script, clients, seconds }: { script: string; clients: number; seconds: number },
): Promise<number> =>
  rateOf(await run(new URL(config.USERS_DATABASE_URL ?? ''), ...load(clients, seconds), '-f', script))

/** Lays out the tables of pgbench's own transaction (five statements on accounts, tellers and branches) in a schema of their own. */
export const openPgbench = async ({ environment }: Bench, asOwner: (script: string) => Promise<void>) => {
  const url = new URL(environment['DATABASE_URL'] ?? '')
  await asOwner('drop database if exists pgbench')
  await asOwner('create database pgbench')
  url.pathname = '/pgbench'
  await run(url, '-i', '-q', '-s', '50')
  return {
    measure: async ({ clients, seconds }: { clients: number; seconds: number }): Promise<number> =>
      rateOf(await run(url, ...load(clients, seconds))),
    close: () => asOwner('drop database pgbench'),
  }
}
