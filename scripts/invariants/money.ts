import { z } from 'zod'
import type { Postgres } from '#platform/postgres'
import { type Invariant, type Sources, text } from './invariant.ts'

const totals = z.object({ totals: z.array(z.object({ currency: z.string(), captured: z.int(), refunded: z.int() })) })

const ever = 'from=1970-01-01T00%3A00%3A00Z&to=9999-01-01T00%3A00%3A00Z'

const atProvider = async ({ provider }: Sources): Promise<Map<string, number>> => {
  const answer = await provider.call({ method: 'GET', path: `/ledger/totals?${ever}` })
  if (answer.kind !== 'answered' || answer.status !== 200)
    throw new Error('The payment provider does not show its ledger.')
  return new Map(
    totals.parse(answer.body).totals.map(({ currency, captured, refunded }) => [currency, captured - refunded]),
  )
}

const sums = async (postgres: Postgres, statement: string): Promise<Map<string, number>> =>
  new Map((await postgres.run(statement)).map((row) => [text(row, 'currency'), Number(row['amount'])]))

export const money: Invariant = {
  name: 'captured - refunded at the provider = the same in payments = total of confirmed orders',
  check: async (sources) => {
    const { payments, orders } = sources.databases
    const [provider, own, confirmed] = await Promise.all([
      atProvider(sources),
      sums(payments, `select currency, sum(amount)::text as amount from payments where status = 'captured' group by 1`),
      sums(
        orders,
        `select currency, sum(total_amount)::text as amount from orders where status = 'confirmed' group by 1`,
      ),
    ])
    const currencies = new Set([...provider.keys(), ...own.keys(), ...confirmed.keys()])
    return [...currencies].flatMap((currency) => {
      const [a, b, c] = [provider, own, confirmed].map((sum) => sum.get(currency) ?? 0)
      return a === b && b === c ? [] : [`${currency}: ${a} at the provider, ${b} in payments, ${c} in confirmed orders`]
    })
  },
}
