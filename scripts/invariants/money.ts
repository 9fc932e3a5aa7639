import type { SqlRow } from '#platform/postgres'
import { paymentsAgainstLedger } from './charges.ts'
import {
  type Findings,
  type Invariant,
  type Sources,
  type Waiting,
  apart,
  arrayOf,
  broken,
  isUuid,
  nullable,
  text,
} from './invariant.ts'
import { type Charge, readLedger } from './ledger.ts'
import { ordersAgainstPayments } from './paid-orders.ts'
import type { Judge } from './rows.ts'

/** What waits, together with the payments of its orders and the orders of its payments. */
const widen = async ({ orders, payments }: Sources['databases'], { ids }: Waiting): Promise<Set<string>> => {
  const wide = new Set(ids)
  const given = [arrayOf([...ids].filter(isUuid))]
  const pairs = await Promise.all([
    payments.run(
      'select id, order_id as other from payments where id = any ($1::uuid[]) or order_id = any ($1::uuid[])',
      given,
    ),
    orders.run(
      'select id, payment_id as other from orders where id = any ($1::uuid[]) or payment_id = any ($1::uuid[])',
      given,
    ),
  ])
  for (const row of pairs.flat()) {
    wide.add(text(row, 'id'))
    const other = nullable(row, 'other')
    if (other) wide.add(other)
  }
  return wide
}

type Sums = Map<string, number>

const sumCharges = (charges: Iterable<Charge>, without: ReadonlySet<string>): Sums => {
  const sums: Sums = new Map()
  for (const { reference, currency, amount, refunded } of charges) {
    if (!without.has(reference)) sums.set(currency, (sums.get(currency) ?? 0) + amount - refunded)
  }
  return sums
}

const toSums = (rows: SqlRow[]): Sums => new Map(rows.map((row) => [text(row, 'currency'), Number(row['amount'])]))

/** The three totals of each currency, without what waits. */
async function* totals(
  { databases: { orders, payments } }: Sources,
  provider: Sums,
  without: ReadonlySet<string>,
): Findings {
  const given = [arrayOf([...without].filter(isUuid))]
  const [own, confirmed] = await Promise.all([
    payments.run(
      `select currency, sum(amount)::text as amount from payments where status = 'captured' and id <> all ($1::uuid[]) group by 1`,
      given,
    ),
    orders.run(
      `select currency, sum(total_amount)::text as amount from orders where status = 'confirmed' and id <> all ($1::uuid[]) group by 1`,
      given,
    ),
  ])
  const sums = [provider, toSums(own), toSums(confirmed)]
  for (const currency of new Set(sums.flatMap((sum) => [...sum.keys()]))) {
    const [a, b, c] = sums.map((sum) => sum.get(currency) ?? 0)
    if (a !== b || b !== c)
      yield broken(`${currency}: ${a} at the provider, ${b} in payments, ${c} in confirmed orders`)
  }
}

export const money: Invariant = {
  name: 'for each currency: captured - refunded at the provider = captured - refunded in payments = total of confirmed orders',
  check: async function* (sources, waiting) {
    const told = await widen(sources.databases, waiting)
    const judge: Judge = (line, ...ids) => (ids.some((id) => id && told.has(id)) ? apart(line) : broken(line))
    const charges = await readLedger(sources)
    const provider = sumCharges(charges.values(), told)
    yield* totals(sources, provider, told)
    yield* paymentsAgainstLedger(sources, charges, judge)
    yield* ordersAgainstPayments(sources, judge)
  },
}
