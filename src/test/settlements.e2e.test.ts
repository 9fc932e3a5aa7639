import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { settlementSnapshot } from '#modules/payments'
import { openPostgres } from '#platform/postgres'
import { startTestApp } from './app.ts'
import { refusal } from './client.ts'
import { eventually } from './eventually.ts'
import { type Gate, openGate } from './gate.ts'
import { startProcess } from './process.ts'
import { openShop, patienceMs } from './shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const owner = openPostgres({ url: app.environment['DATABASE_URL'] ?? '', name: 'test', poolSize: 2 })

afterAll(async () => {
  await app.stop()
  await owner.close()
  await shop.close()
})

const settlement = settlementSnapshot.omit({ version: true }).strict()

type Settlement = z.infer<typeof settlement>
type Total = Settlement['totals'][number]
type Period = { from: string; to: string }

/** A currency that nothing was ever paid in, so that its totals are this test's alone. */
const newCurrency = async (): Promise<string> => {
  const letter = () => String.fromCharCode(65 + Math.floor(Math.random() * 26))
  for (;;) {
    const currency = `X${letter()}${letter()}`
    if ((await ledgerOf(ever, currency)).payments === 0 && (await sumOf(ever, currency)).payments === 0) return currency
  }
}

const ever = { from: '1970-01-01T00:00:00.000Z', to: '2970-01-01T00:00:00.000Z' }

const start = async (period: Period): Promise<Settlement> => {
  const answer = await shop.client.send('POST', '/settlements', { token: shop.operator, body: period })
  expect(answer.status).toBe(202)
  const started = settlement.parse(answer.body)
  expect(answer.headers.get('location')).toBe(`/settlements/${started.id}`)
  return started
}

const read = async (id: string): Promise<Settlement> => {
  const { status, body } = await shop.client.send('GET', `/settlements/${id}`, { token: shop.operator })
  expect(status).toBe(200)
  return settlement.parse(body)
}

const ended = (id: string): Promise<Settlement> =>
  eventually(async () => {
    const found = await read(id)
    expect(found.status).not.toBe('running')
    return found
  }, patienceMs)

const settle = async (period: Period): Promise<Settlement> => {
  const found = await ended((await start(period)).id)
  expect(found).toMatchObject({ status: 'completed', ...period })
  return found
}

const totalIn = ({ totals }: { totals: Total[] }, currency: string): Total =>
  totals.find((total) => total.currency === currency) ?? { currency, captured: 0, refunded: 0, net: 0, payments: 0 }

/** What the tables of payments say of the period, asked in one plain sum. */
const sumOf = async ({ from, to }: Period, currency: string): Promise<Total> => {
  const within = (column: string) => `${column} >= $2::timestamptz and ${column} < $3::timestamptz`
  const [row] = await shop.payments.run(
    `select coalesce(sum(amount) filter (where ${within('captured_at')}), 0)::bigint as captured,
      coalesce(sum(amount) filter (where ${within('refunded_at')}), 0)::bigint as refunded,
      count(*) filter (where ${within('captured_at')})::integer as payments
    from payments where currency = $1`,
    [currency, from, to],
  )
  const [captured, refunded] = [Number(row?.['captured']), Number(row?.['refunded'])]
  return { currency, captured, refunded, net: captured - refunded, payments: Number(row?.['payments']) }
}

const providerTotals = z.object({ totals: z.array(settlementSnapshot.shape.totals.element.omit({ net: true })) })

const providerUrl = (path: string) => `${(app.environment['PAYMENT_PROVIDER_URL'] ?? '').replace(/\/$/, '')}${path}`

/** What the provider's ledger says of the period. */
const ledgerOf = async ({ from, to }: Period, currency: string): Promise<Total> => {
  const query = new URLSearchParams({ from, to })
  const answer = await fetch(providerUrl(`/ledger/totals?${query}`))
  const totals = providerTotals.parse(await answer.json()).totals
  return totalIn({ totals: totals.map((total) => ({ ...total, net: total.captured - total.refunded })) }, currency)
}

/** Expects the same of the settlement, of the tables and of the provider. */
const expectAgreed = async (found: Settlement, currency: string): Promise<Total> => {
  const total = totalIn(found, currency)
  expect({ tables: await sumOf(found, currency), ledger: await ledgerOf(found, currency) }).toEqual({
    tables: total,
    ledger: total,
  })
  return total
}

/** Sells that many, one after the other, and takes every third back; answers when each was charged, in their order. */
const trade = async (currency: string, count: number): Promise<string[]> => {
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(1_000, currency)]
  for (let index = 0; index < count; index += 1) {
    const { id } = await shop.buy(buyer, [{ sku, quantity: 1 + index }])
    const { paymentId } = await shop.eventuallyOrder(id, { status: 'confirmed' })
    if (index % 3 === 0) {
      expect((await shop.cancel(id, buyer.token)).status).toBe(202)
      await shop.eventuallyPayment(paymentId ?? '', { status: 'refunded' })
    }
    await shop.quiet(id)
  }
  const rows = await shop.payments.run('select captured_at from payments where currency = $1 order by captured_at', [
    currency,
  ])
  return rows.map((row) => new Date(String(row['captured_at'])).toISOString())
}

describe('a settlement', () => {
  test('is answered running, and ends with totals that are those of the tables and of the provider', async () => {
    const one = await newCurrency()
    await trade(one, 7)
    const other = await newCurrency()
    await trade(other, 2)
    const started = await start(ever)
    expect(started).toMatchObject({ ...ever, status: 'running', tasks: { done: 0, failed: 0 }, totals: [] })
    expect(started.tasks.total).toBeGreaterThanOrEqual(12)
    const found = await ended(started.id)
    const { total } = started.tasks
    expect(found).toMatchObject({ ...ever, status: 'completed', tasks: { total, done: total, failed: 0 } })
    const currencies = found.totals.map(({ currency }) => currency)
    expect(currencies).toEqual(currencies.toSorted())
    expect(await expectAgreed(found, one)).toMatchObject({ payments: 7 })
    expect((await expectAgreed(found, one)).refunded).toBeGreaterThan(0)
    expect(await expectAgreed(found, other)).toMatchObject({ payments: 2 })
  })

  test('shows its progress, which only grows, and no totals before its end', async () => {
    const started = await start(ever)
    const seen: Settlement[] = [started]
    await eventually(async () => {
      const found = await read(started.id)
      seen.push(found)
      expect(found.status).toBe('completed')
    }, patienceMs)
    const done = seen.map(({ tasks }) => tasks.done)
    expect(done).toEqual(done.toSorted((a, b) => a - b))
    for (const { status, tasks, totals } of seen) {
      expect(status).toBe(tasks.done === tasks.total ? 'completed' : 'running')
      if (status === 'running') expect(totals).toEqual([])
    }
  })

  test('has what happened from the very beginning of its period until just before its end', async () => {
    const currency = await newCurrency()
    const times = await trade(currency, 6)
    const [from = '', middle = '', to = ''] = [times[1], times[3], times[5]]
    const amounts = await shop.payments.run(
      `select sum(amount) filter (where captured_at = $2::timestamptz)::bigint as first,
        sum(amount) filter (where captured_at = $3::timestamptz)::bigint as last from payments where currency = $1`,
      [currency, from, to],
    )
    const whole = await expectAgreed(await settle({ from, to }), currency)
    expect(whole.payments).toBe(times.filter((time) => time >= from && time < to).length)
    const justAfter = (time: string) => new Date(Date.parse(time) + 1).toISOString()
    const without = await expectAgreed(await settle({ from: justAfter(from), to }), currency)
    const withLast = await expectAgreed(await settle({ from, to: justAfter(to) }), currency)
    expect(whole.captured - without.captured).toBe(Number(amounts[0]?.['first']))
    expect(withLast.captured - whole.captured).toBe(Number(amounts[0]?.['last']))

    const parts = [await settle({ from, to: middle }), await settle({ from: middle, to })]
    const [a, b] = await Promise.all(parts.map((part) => expectAgreed(part, currency)))
    for (const field of ['captured', 'refunded', 'net', 'payments'] as const)
      expect((a?.[field] ?? 0) + (b?.[field] ?? 0)).toBe(whole[field])
  })

  test('of a period in which nothing happened, or of a single millisecond, is completed too', async () => {
    const [from, to] = ['2001-01-01T00:00:00.000Z', '2001-01-01T00:00:00.001Z']
    expect((await settle({ from, to })).totals).toEqual([])
    expect((await settle({ from, to: '2002-01-01T00:00:00.000Z' })).totals).toEqual([])
  })

  test('takes times with an offset, and answers them in UTC', async () => {
    const started = await start({ from: '2001-01-01T01:00:00+01:00', to: '2001-01-02T00:00:00Z' })
    expect(started).toMatchObject({ from: '2001-01-01T00:00:00.000Z', to: '2001-01-02T00:00:00.000Z' })
    await ended(started.id)
  })

  test('sent five times at the same moment under one Idempotency-Key is one settlement', async () => {
    const headers = { 'idempotency-key': Bun.randomUUIDv7() }
    const send = () => shop.client.send('POST', '/settlements', { token: shop.operator, headers, body: ever })
    const answers = await Promise.all(Array.from({ length: 5 }, send))
    const ids = answers.map(({ status, body }) => [status, settlement.parse(body).id])
    expect(ids).toEqual(ids.map(() => [202, ids[0]?.[1] ?? '']))
    await ended(String(ids[0]?.[1]))
  })

  test('with a task that fails for good is failed, and the task is counted, parked and listed', async () => {
    await owner.script(`
      create function payments.refuse_task() returns trigger language plpgsql as $$ begin raise 'planted'; end $$;
      create trigger refuse_task before update on payments.job_tasks for each row
        when (new.task = 5 and new.status = 'done') execute function payments.refuse_task()`)
    try {
      const { id, tasks } = await start(ever)
      const found = await ended(id)
      expect(found).toMatchObject({ status: 'failed', tasks: { ...tasks, done: tasks.total - 1, failed: 1 } })
      const listed = await shop.client.send('GET', '/ops/dead-letters', { token: shop.operator })
      const { items } = z.object({ items: z.array(z.looseObject({ id: z.string() })) }).parse(listed.body)
      const mine = items.filter((item) => JSON.stringify(item).includes(`${id}:5`))
      expect(mine).toHaveLength(1)
      const skip = `/ops/dead-letters/${mine[0]?.id}/skip`
      expect((await shop.client.send('POST', skip, { token: shop.operator })).status).toBe(202)
    } finally {
      await owner.script('drop trigger refuse_task on payments.job_tasks; drop function payments.refuse_task()')
    }
  })
})

describe('two processes', () => {
  /** Looks through the packets that the second process sends to the database of payments. */
  const withSecond = async (work: (second: { gate: Gate; kill: () => void }) => Promise<void>) => {
    const gate = await openGate(app.environment['PAYMENTS_DATABASE_URL'] ?? '')
    const { child } = await startProcess({ ...app.environment, PAYMENTS_DATABASE_URL: gate.url })
    try {
      await work({ gate, kill: () => child.kill('SIGKILL') })
    } finally {
      child.kill('SIGTERM')
      await child.exited
      await gate.close()
    }
  }

  /** What records the end of a task names its result, and then the settlement. */
  const endOfTask = (id: string) => new RegExp(`done.{4,8}\\[.*?${id}`, 'gs')

  const expectCountedOnce = async ({ id, tasks }: Settlement) => {
    const counted = `select count(*)::integer as tasks from job_tasks where job_id = $1 and status = 'done'`
    expect(await shop.payments.run(counted, [id])).toEqual([{ tasks: tasks.total }])
  }

  test('share the tasks of a settlement, and count each of them once', async () => {
    const currency = await newCurrency()
    await trade(currency, 3)
    await withSecond(({ gate }) =>
      // Until the second has been given its part of the partitions.
      eventually(async () => {
        const sent: string[] = []
        gate.watch(({ from, bytes }) => {
          if (from === 'client') sent.push(bytes.toString('latin1'))
          return true
        })
        const found = await settle(ever)
        await expectAgreed(found, currency)
        await expectCountedOnce(found)
        const ends = [...sent.join('\n').matchAll(endOfTask(found.id))].length
        expect(ends).toBeGreaterThan(0)
        expect(ends).toBeLessThan(found.tasks.total)
      }, patienceMs),
    )
  })

  test('lose no task when one is killed with tasks in hand', async () => {
    const currency = await newCurrency()
    await trade(currency, 3)
    await withSecond(({ gate, kill }) =>
      eventually(async () => {
        const { id } = await start(ever)
        let killed = false
        gate.watch(({ from, bytes }) => {
          if (killed || from === 'service' || !endOfTask(id).test(bytes.toString('latin1'))) return !killed
          killed = true
          kill()
          return false
        })
        const found = await ended(id)
        expect(found.status).toBe('completed')
        await expectAgreed(found, currency)
        await expectCountedOnce(found)
        expect(killed).toBe(true)
      }, patienceMs),
    )
  })
})

test('settlements are for operators: nobody else starts or reads one', async () => {
  const { id } = await settle({ from: '2001-01-01T00:00:00.000Z', to: '2002-01-01T00:00:00.000Z' })
  const { token } = await shop.newBuyer()
  const forbidden = { status: 403, code: 'forbidden' }
  const unauthenticated = { status: 401, code: 'unauthenticated' }
  expect(refusal(await shop.client.send('POST', '/settlements', { token, body: ever }))).toEqual(forbidden)
  expect(refusal(await shop.client.send('GET', `/settlements/${id}`, { token }))).toEqual(forbidden)
  expect(refusal(await shop.client.send('POST', '/settlements', { body: ever }))).toEqual(unauthenticated)
  expect(refusal(await shop.client.send('GET', `/settlements/${id}`))).toEqual(unauthenticated)
  const absent = await shop.client.send('GET', `/settlements/${Bun.randomUUIDv7()}`, { token: shop.operator })
  expect(refusal(absent)).toEqual({ status: 404, code: 'settlement-not-found' })
})

test('a period that does not fit is refused', async () => {
  const [from, to] = ['2001-01-01T00:00:00.000Z', '2002-01-01T00:00:00.000Z']
  const bodies = [
    { from: to, to: from },
    { from, to: from },
    { from },
    { to },
    {},
    { from: 'yesterday', to },
    { from, to: '2002-01-01' },
    { from, to: '2002-13-01T00:00:00Z' },
    { from: 0, to: 1 },
  ]
  for (const body of bodies) {
    const answer = await shop.client.send('POST', '/settlements', { token: shop.operator, body })
    expect([body, refusal(answer)]).toEqual([body, { status: 400, code: 'invalid-input' }])
  }
})
