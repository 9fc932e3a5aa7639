import { z } from 'zod'
import { openPostgres } from '#platform/postgres'
import { sleep } from '#platform/retry'
import { asOwner } from './environment.ts'
import { type Bench, type Row, type Scenario, alternate, format } from './scenario.ts'
import { type Server, request, signInOperator, spawnOurs } from './server.ts'

const period = { from: '2026-01-01T00:00:00.000Z', to: '2026-02-01T00:00:00.000Z' }

const fill = (payments: number) => `insert into payments.payments
    (id, order_id, user_id, status, amount, currency, token, charge_id, version, created_at, captured_at)
  select uuidv7(), uuidv7(), uuidv7(), 'captured', 1999, 'EUR', 'tok_visa', n::text, 2, at, at
  from generate_series(1, ${payments}) as n,
    lateral (select timestamptz '${period.from}' + (n * interval '31 days') / ${payments + 1} as at) as spread`

const directSum = `select currency, sum(amount), count(*) from payments
  where captured_at >= '${period.from}' and captured_at < '${period.to}' group by currency`

const settlement = z.object({
  id: z.string(),
  status: z.enum(['running', 'completed', 'failed']),
  totals: z.array(z.object({ payments: z.int() })),
})

/** Milliseconds from the request to the completed settlement. */
const settle = async (server: Server, token: string, payments: number): Promise<number> => {
  const startedAt = performance.now()
  const begun = settlement.parse(await request(server, 'POST', '/settlements', { token, body: period }))
  for (;;) {
    const now = await request(server, 'GET', `/settlements/${begun.id}`, { token }).catch(() => begun)
    const { status, totals } = settlement.parse(now)
    if (status === 'completed') {
      if (totals[0]?.payments !== payments) throw new Error(`${totals[0]?.payments} of ${payments} were settled.`)
      return performance.now() - startedAt
    }
    if (status === 'failed' || performance.now() > startedAt + 60_000) throw new Error(`The settlement is ${status}.`)
    await sleep(5)
  }
}

const measure = async (bench: Bench, servers: Server[], payments: number): Promise<Row> => {
  const [first] = servers
  if (!first) throw new Error('A settlement needs a process.')
  const token = await signInOperator(first, bench)
  const postgres = openPostgres({ url: bench.config.PAYMENTS_DATABASE_URL ?? '', name: 'bench', poolSize: 2 })
  const direct = async () => {
    const startedAt = performance.now()
    await postgres.run(directSum)
    return performance.now() - startedAt
  }
  try {
    await settle(first, token, payments)
    const measured = await alternate(
      bench,
      { limit: direct, figure: () => settle(first, token, payments) },
      (ms) => `${format(ms)} ms`,
    )
    return {
      scenario: `settlement, ${servers.length}`,
      figure: `POST /settlements of ${format(payments)} payments until it is completed, ${servers.length} processes`,
      unit: 'ms',
      figures: measured.figure,
      limit: 'the same sum by one statement',
      limits: measured.limit,
    }
  } finally {
    await postgres.close()
  }
}

export const settlements: Scenario = {
  name: 'settlement',
  needs: [],
  run: async (bench) => {
    const payments = bench.quick ? 10_000 : 100_000
    await asOwner(bench, 'truncate payments.payments')
    await asOwner(bench, `${fill(payments)}; analyze payments.payments`)
    const servers = [await spawnOurs(bench)]
    try {
      const one = await measure(bench, servers, payments)
      servers.push(await spawnOurs(bench))
      return [one, await measure(bench, servers, payments)]
    } finally {
      await Promise.all(servers.map((server) => server.stop()))
      await asOwner(bench, 'truncate payments.payments')
    }
  },
}
