import { z } from 'zod'
import { paymentSnapshot, settlementSnapshot } from '#modules/payments'
import { sleep } from '#platform/retry'
import type { World } from '../commands.ts'
import type { Listed } from './orders.ts'
import { eachOf, read } from './read.ts'

const settlement = settlementSnapshot.omit({ version: true })
const sums = z.array(z.object({ currency: z.string(), captured: z.int(), refunded: z.int(), payments: z.int() }))
const ledger = z.object({ totals: sums })

/** Each answered refund has been made, and its order is cancelled. */
export const verifyRefunds = (world: World, listed: Listed): Promise<void> =>
  eachOf(world.record.refunds, async (id) => {
    const payment = await read(world, paymentSnapshot, `/payments/${id}`, world.operator)
    if (!payment) return
    const order = listed.get(payment.orderId)
    if (payment.status !== 'refunded' || order?.status !== 'cancelled')
      world.record.breach(
        `the refund of ${id} was answered: it is ${payment.status}, and its order ${payment.orderId} ${order?.status}`,
      )
  })

/** Each answered settlement is there and was completed. */
export const verifySettlements = (world: World): Promise<void> =>
  eachOf(world.record.settlements, async (id) => {
    const found = await read(world, settlement, `/settlements/${id}`, world.operator)
    if (found && found.status !== 'completed')
      world.record.breach(`settlement ${id} is ${found.status}: ${JSON.stringify(found.tasks)}`)
  })

/** For how long a settlement may take when nothing is broken. */
const settledWithinMs = 20_000

/** Settles the whole run now that nothing moves: it must come to what the provider's ledger says. */
export const verifySums = async (world: World, provider: string, from: Date): Promise<void> => {
  const { door, record, operator } = world
  const body = { from: from.toISOString(), to: new Date(Date.now() + 60_000).toISOString() }
  const started = await door.ask({
    method: 'POST',
    path: '/settlements',
    token: operator,
    body,
    key: Bun.randomUUIDv7(),
  })
  const { id } = settlement.safeParse(started?.body).data ?? {}
  if (!id) return record.breach('the settlement of the whole run could not be started')
  const answer = await fetch(`${provider}/ledger/totals?from=${body.from}&to=${body.to}`)
  const theirs = ledger.parse(await answer.json()).totals
  const deadline = performance.now() + settledWithinMs
  for (;;) {
    const read = await door.ask({ method: 'GET', path: `/settlements/${id}`, token: operator })
    const ours = settlement.safeParse(read?.body).data
    if (ours?.status === 'completed' && JSON.stringify(sums.parse(ours.totals)) === JSON.stringify(theirs)) return
    if (ours?.status === 'completed' || ours?.status === 'failed' || !read || performance.now() > deadline)
      return record.breach(
        `the settlement ${id} of the whole run is ${ours?.status} and says ${JSON.stringify(ours?.totals)}, and the provider ${JSON.stringify(theirs)}`,
      )
    await sleep(100)
  }
}
