import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { openEnds } from './breaches/endings.ts'
import { manyOrders } from './breaches/many-orders.ts'
import { outboxRow, wrongMessages } from './breaches/messages.ts'
import { lostRows, moneyBreaches } from './breaches/money.ts'
import { type BoughtOrder, type Breaches, type Planting, both, plantingOn } from './breaches/planting.ts'
import { wrongSnapshots } from './breaches/snapshots.ts'
import { systemAtRest } from './breaches/system-at-rest.ts'
import { examine } from './examine.ts'

setDefaultTimeout(120_000)

const system = await systemAtRest()
const planting = plantingOn(system)
const { moveStock, changeOrder, changePayment, saga, parked } = planting

afterAll(() => system.stop())

const linesNow = async (of: 'broken' | 'waiting'): Promise<Record<number, string>> => {
  const found = (await examine(system.sources)).filter((each) => each[of].count > 0)
  return Object.fromEntries(found.map((each) => [each.number, each[of].lines.join('\n')]))
}

test('a system at rest, with every flow in it, breaks none and has nothing that waits', async () => {
  expect(await linesNow('broken')).toEqual({})
  expect(await linesNow('waiting')).toEqual({})
})

/** What payments says was captured and not given back, in EUR. */
const total = async (): Promise<number> => {
  const [row] = await system.owner.run(
    `select sum(amount)::text as sum from payments.payments where status = 'captured'`,
  )
  return Number(row?.['sum'])
}

/** Plants all of them, each about something else, and expects each to be told and no other invariant to be broken by any. */
const describeBreaches = (name: string, breaks: number[], breaches: Breaches, { inRedis = false } = {}) =>
  describe(name, () => {
    const planted: Planting[] = []
    let broken: Record<number, string> = {}

    beforeAll(async () => {
      for (const breach of Object.values(breaches)) {
        planted.unshift(breach)
        await breach.plant()
      }
      if (!inRedis) await system.project()
      broken = await linesNow('broken')
    })

    afterAll(async () => {
      for (const { mend } of planted) await mend()
      await system.project()
    })

    test(`breaks ${breaks.join(', ')} and nothing else`, () => {
      expect(Object.keys(broken).map(Number)).toEqual(breaks)
    })

    for (const [what, { says }] of Object.entries(breaches)) {
      test(`is told: ${what}`, () => {
        for (const part of says) expect(Object.values(broken).join('\n')).toContain(part)
      })
    }

    test('holds again once it is put right', async () => {
      for (const { mend } of planted.splice(0)) await mend()
      await system.project()
      expect(await linesNow('broken')).toEqual({})
    })
  })

describeBreaches('stock that is wrong', [1], {
  'pieces that were lost': { says: ['product tea: '], ...moveStock('tea', -1) },
  'pieces that were given back twice': { says: ['product cup: '], ...moveStock('cup', 3) },
})
describeBreaches('money that is wrong', [2], moneyBreaches(system, planting))
describeBreaches('a row that is gone', [1, 2, 6], lostRows(planting))
describeBreaches('something that has not ended', [3], openEnds(system, planting))
describeBreaches('a snapshot that is wrong', [4], wrongSnapshots(system, planting), { inRedis: true })
describeBreaches('something left out for an operator', [5], {
  'a stuck checkout that is not listed': {
    says: [`checkout ${system.done.compensated.id} is listed as compensated and is needs-operator`],
    ...saga(system.done.compensated.id, { column: 'compensated', state: 'needs-operator' }),
  },
  'a checkout that is listed and not stuck': {
    says: [`checkout ${system.done.completed[0]?.id} is listed as needs-operator and is completed`],
    ...saga(system.done.completed[0]?.id ?? '', { column: 'needs-operator', state: 'completed' }),
  },
})
describeBreaches('messages that are wrong', [6], wrongMessages(system, planting))

test('one order that is wrong is found among thousands', async () => {
  const many = manyOrders(system, 5_500)
  await many.plant()
  try {
    await system.project()
    expect(await linesNow('broken')).toEqual({})
    const [row] = await system.owner.run('select id, payment from public.many order by id offset 2750 limit 1')
    const { id, payment } = row ?? {}
    await system.owner.run('update orders.orders set total_amount = 500 where id = $1', [id ?? null])
    expect(await linesNow('broken')).toEqual({
      2: [
        `EUR: ${await total()} at the provider, ${await total()} in payments, ${(await total()) + 1} in confirmed orders`,
        `order ${id} is confirmed with a total of 500 EUR, and its payment ${payment} is of 499 EUR`,
      ].join('\n'),
      4: `orders: order ${id} has version 2 in Redis and 2 in the tables; what differs: total`,
    })
  } finally {
    await many.mend()
    await system.project()
  }
})

describe('what waits for an operator breaks nothing:', () => {
  const { compensated, confirmed } = system.done
  const [one, other] = confirmed.slice(-2) as [BoughtOrder, BoughtOrder]
  const refund = ({ payment }: BoughtOrder) =>
    changePayment(payment, `status = 'refunded', refunded_at = now()`, `status = 'captured', refunded_at = null`)
  const stuck = saga(compensated.id, { column: 'needs-operator', state: 'needs-operator', data: { stockHeld: true } })

  /** What is broken and what waits, with all of this planted. */
  const withPlanted = async (...parts: Planting[]) => {
    const { plant, mend } = both(...parts)
    await plant()
    try {
      await system.project()
      return { broken: await linesNow('broken'), waiting: await linesNow('waiting') }
    } finally {
      await mend()
      await system.project()
    }
  }

  test('a parked message is listed, and the money that it is about is counted apart', async () => {
    const id = Bun.randomUUIDv7()
    const { broken, waiting } = await withPlanted(refund(one), parked(id, one))
    expect(broken).toEqual({})
    expect(Object.keys(waiting)).toEqual(['2', '5'])
    expect(waiting[2]).toContain(`order ${one.id} is confirmed, and its payment ${one.payment} is refunded`)
    expect(waiting[5]).toContain(`orders: dead letter ${id} of orders.payment-events, key ${one.payment}`)
  })

  test('but what a parked message is not about is broken all the same', async () => {
    const { broken } = await withPlanted(refund(one), refund(other), parked(Bun.randomUUIDv7(), one))
    expect(Object.keys(broken)).toEqual(['2'])
    expect(broken[2]).toContain(`its payment ${other.payment} is refunded`)
    expect(broken[2]).not.toContain(one.payment)
  })

  test('a stuck checkout that holds stock without an order is listed, and its stock counted apart', async () => {
    expect(await withPlanted(stuck, moveStock('cup', -3))).toEqual({
      broken: {},
      waiting: {
        1: `checkout ${compensated.id} holds 3 of cup`,
        5: expect.stringContaining(`orders: checkout ${compensated.id}, for ${compensated.orderId}: `),
      },
    })
  })

  test('a stuck checkout whose order is pending has its stock counted once, and its order has not ended', async () => {
    const pending = changeOrder(
      compensated.orderId,
      `status = 'pending', reason = null`,
      `status = 'cancelled', reason = 'checkout-failed'`,
    )
    const { broken, waiting } = await withPlanted(stuck, pending, moveStock('cup', -3))
    expect(broken).toEqual({})
    expect(Object.keys(waiting)).toEqual(['3', '5'])
    expect(waiting[3]).toContain(`order ${compensated.orderId} is pending`)
  })
})

describe('bun run check:invariants', () => {
  const script = join(import.meta.dir, '../check-invariants.ts')
  const check = async (overrides: Record<string, string> = {}) => {
    const child = Bun.spawn([process.execPath, script], {
      env: { ...process.env, ...system.environment, ...overrides },
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const [said, errors] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
    return { code: await child.exited, said: said.trim().split('\n'), errors: errors.trim().split('\n') }
  }

  test('says of each that it holds, and exits with 0', async () => {
    const { code, said, errors } = await check()
    expect([code, errors]).toEqual([0, ['']])
    expect(said.map((line) => line.slice(0, 9))).toEqual([1, 2, 3, 4, 5, 6].map((number) => `holds  ${number}.`))
  })

  test('says which is broken, with the ids, and exits with 1', async () => {
    const id = Bun.randomUUIDv7()
    const { plant, mend } = outboxRow(planting, 'orders', id)
    await plant()
    const { code, said, errors } = await check()
    await mend()
    expect([code, errors]).toEqual([1, ['1 of 6 invariants are broken.']])
    expect(said.filter((line) => !line.startsWith('holds '))).toEqual([
      expect.stringMatching(/^BROKEN 6\. /),
      `         orders: x.y.v1 ${id} of x is in the outbox`,
    ])
  })

  const elsewhere = (variable: string): Record<string, string> => {
    const url = new URL(system.environment[variable] ?? '')
    url.port = '1'
    return { [variable]: url.href }
  }
  const away: Record<string, [Record<string, string>, string]> = {
    'the Postgres of a module': [elsewhere('ORDERS_DATABASE_URL'), 'The Postgres of orders does not answer'],
    'the broker': [{ KAFKA_BROKERS: '127.0.0.1:1' }, 'The broker does not answer'],
    Redis: [elsewhere('REDIS_URL'), 'Redis at 127.0.0.1:1 does not answer'],
    'the payment provider': [elsewhere('PAYMENT_PROVIDER_URL'), 'The payment provider does not show its ledger'],
  }
  for (const [name, [overrides, line]] of Object.entries(away)) {
    test(`says in one line that ${name} is away, and exits with 1`, async () => {
      expect(await check(overrides)).toEqual({ code: 1, said: [''], errors: [expect.stringContaining(line)] })
    })
  }
})
