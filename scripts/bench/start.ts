import { readFileSync } from 'node:fs'
import { type Postgres, openPostgres } from '#platform/postgres'
import { sleep } from '#platform/retry'
import { asOwner } from './environment.ts'
import type { Bench, Row, Scenario } from './scenario.ts'
import { type Server, signIn, spawnOurs } from './server.ts'
import { wrk, wrkTool } from './wrk.ts'

/** Resident memory of a process in MB (10^6 bytes). */
const residentMb = (pid: number): number => {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return (Number(kib) * 1_024) / 1e6
}

/** The processor time that a process has taken, in seconds; Linux counts it in hundredths. */
const processorSeconds = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

const transactions = async (watcher: Postgres, database: string): Promise<number> => {
  const [row] = await watcher.run(
    'select (xact_commit + xact_rollback)::int as count from pg_stat_database where datname = $1',
    [database],
  )
  return Number(row?.['count'])
}

/** A connection that falls silent tells Postgres's statistics of its last transactions 10 s later. */
const restMs = 15_000

/** What a server does with the services that nobody asked it for. It watches from another database, so as not to count itself. */
const atRest = async ({ environment }: Bench, { pid }: Server, seconds: number) => {
  const url = new URL(environment['DATABASE_URL'] ?? '')
  const database = url.pathname.slice(1)
  url.pathname = '/postgres'
  const watcher = openPostgres({ url: url.href, name: 'bench-watch', poolSize: 1 })
  try {
    const before = { cpu: processorSeconds(pid), count: await transactions(watcher, database), at: performance.now() }
    await sleep(seconds * 1_000)
    const after = { cpu: processorSeconds(pid), count: await transactions(watcher, database), at: performance.now() }
    const tookSeconds = (after.at - before.at) / 1_000
    return {
      percent: (100 * (after.cpu - before.cpu)) / tookSeconds,
      statements: (after.count - before.count) / tookSeconds,
    }
  } finally {
    await watcher.close()
  }
}

/** Reads, queries and commands, so that the process is as large as work makes it. */
const work = async (bench: Bench, server: Server): Promise<void> => {
  const { userId, token } = await signIn(server)
  const seconds = bench.quick ? 2 : 15
  const [user, body] = [`${server.url}/users/${userId}`, JSON.stringify({ query: '{ me { id name email } }' })]
  await wrk({ url: user, method: 'GET', token }, seconds)
  await wrk({ url: `${server.url}/graphql`, method: 'POST', token, body }, seconds)
  await wrk({ url: user, method: 'PATCH', token, body: JSON.stringify({ name: 'Ada' }) }, seconds)
}

const stopped = async <T>(server: Server, use: (server: Server) => Promise<T>): Promise<T> => {
  try {
    return await use(server)
  } finally {
    await server.stop()
  }
}

const fixed = (scenario: string, figure: string, unit: string, figures: number[], limit: number): Row => ({
  scenario,
  figure,
  unit,
  figures,
  limit: `${limit} ${unit}`,
  limits: [limit],
  target: { atMost: 1 },
})

export const start: Scenario = {
  name: 'start',
  needs: [wrkTool],
  run: async (bench) => {
    const starts: number[] = []
    for (let run = 0; run <= bench.runs; run += 1) {
      const tookMs = await stopped(await spawnOurs(bench), ({ startedAfterMs }) => Promise.resolve(startedAfterMs))
      bench.progress(`  start ${run}: ${Math.round(tookMs)} ms${run === 0 ? ' (warms up)' : ''}`)
      if (run > 0) starts.push(tookMs / 1_000)
    }
    const seconds = bench.quick ? 12 : 30
    const after = await stopped(await spawnOurs(bench), async (server) => {
      await work(bench, server)
      const mb = residentMb(server.pid)
      bench.progress(`  ${Math.round(mb)} MB after its work; now at rest for ${seconds} s`)
      // What Postgres does by itself counts as transactions of the database too.
      await asOwner(bench, 'alter system set autovacuum = off; select pg_reload_conf()')
      await sleep(restMs)
      return { mb, ...(await atRest(bench, server, seconds)) }
    })
    return [
      fixed('start', 'bun src/main.ts, from the spawn to 200 of /readyz, services up', 's', starts, 1),
      fixed('memory', 'resident after the load of reads, queries and renames', 'MB', [after.mb], 200),
      fixed('idle', `processor time over ${seconds} s at rest, after the load`, '% of a core', [after.percent], 2),
      fixed('idle, statements', 'transactions of the database over the same time', '1/s', [after.statements], 3),
    ]
  },
}
