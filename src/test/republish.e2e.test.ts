import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { examine } from '../../scripts/invariants/examine.ts'
import { readLedger } from '../../scripts/invariants/ledger.ts'
import { systemAtRest } from '../../scripts/invariants/breaches/system-at-rest.ts'
import { startTestApp } from './app.ts'
import { brokerAdmin } from './broker-admin.ts'
import { buyUntil } from './buying.ts'
import { eventually } from './eventually.ts'
import { lateJoiner } from './late-joiner.ts'
import { runScript } from './script.ts'
import { openShop } from './shop.ts'

setDefaultTimeout(300_000)

const topics = ['user-events', 'order-events', 'payment-events']

const system = await systemAtRest()
const { environment, done, owner } = system
const admin = brokerAdmin(environment)

afterAll(() => system.stop())

const republish = async (module: string, ...args: string[]) => {
  const { code, said, errors } = await runScript('republish', [module, ...args], environment).ended()
  expect({ code, errors: code === 0 ? '' : errors }).toEqual({ code: 0, errors: '' })
  return said
}

const rows = async (statement: string) =>
  (await owner.run(`select to_json(found)::text as found from (${statement}) as found`)).map(
    (row) => JSON.parse(String(row['found'])) as { key: string; sequence: number },
  )

/** What the tables say of every aggregate, as a reader of the events should know it. */
const truth = async () => {
  const all = await Promise.all([
    rows('select id as key, version as sequence, status, role from users.users'),
    rows(
      `select id as key, version as sequence, status, user_id as "userId", total_amount as amount, currency from orders.orders`,
    ),
    rows(`select id as key, version as sequence, status from orders.sagas`),
    rows('select sku as key, sequence, name from orders.products'),
    rows(`select id as key, version as sequence, status, order_id as "orderId" from payments.payments`),
    rows('select id as key, version as sequence, status from payments.jobs'),
  ])
  return all.flat()
}

const broken = async () =>
  (await examine(system.sources)).flatMap(({ broken, waiting }) => [broken, waiting].flatMap((told) => told.lines))

/** The payments there are, and what the provider took and gave back. */
const money = async () => ({
  payments: (await rows('select id as key, 0 as sequence from payments.payments order by id')).map(({ key }) => key),
  charges: await readLedger(system.sources),
})

test('a reader who comes after the topics have expired learns every aggregate, also what changes meanwhile, and nobody acts twice', async () => {
  await admin.expire(topics)
  const before = await money()
  const late = await lateJoiner(environment)
  const app = await startTestApp(environment)
  const shop = await openShop(app.url, app.environment)
  try {
    await late.start()
    expect((await late.copies()).size).toBe(0)

    // At rest first: an effect of the restatements alone would be seen.
    const said = [await republish('users'), await republish('orders'), await republish('payments')]
    expect(said[0]).toMatch(/^users: restated \d+ users$/)
    expect(said[1]).toMatch(/^orders: restated \d+ products, \d+ orders, \d+ checkouts$/)
    expect(said[2]).toMatch(/^payments: restated \d+ payments, 1 settlements$/)
    await eventually(async () => expect(await broken()).toEqual([]), 60_000)
    expect(await money()).toEqual(before)

    // And while everything goes on, interrupted in the middle.
    const products = await Promise.all([shop.newProduct(10_000), shop.newProduct(10_000)])
    const enough = new AbortController()
    const buying = buyUntil(shop, products, enough.signal)
    const interrupted = runScript('republish', ['orders', '--per-second', '20'], environment)
    await eventually(() => expect(interrupted.errors()).toContain('orders: '), 30_000)
    interrupted.child.kill('SIGKILL')
    await interrupted.child.exited
    await Promise.all(['users', 'orders', 'payments'].map((module) => republish(module)))
    enough.abort()
    const begun = await buying
    expect(begun).toBeGreaterThan(0)

    await eventually(async () => expect(await broken()).toEqual([]), 60_000)
    const expected = await truth()
    expect(expected.map(({ key }) => key)).toContain(done.user)
    await eventually(async () => {
      const copies = await late.copies()
      for (const { key, ...known } of expected) expect({ key, ...copies.get(key) }).toMatchObject({ key, ...known })
      expect(copies.size).toBe(expected.length)
    }, 60_000)
    expect(await late.held()).toEqual([])
  } finally {
    await shop.close()
    await app.stop()
    await late.stop()
  }
})

/** A refund as the module payments would have asked for it. */
const refundAtProvider = async (payment: string) => {
  const [charge, { amount }] = [...(await readLedger(system.sources))].find(
    ([, { reference }]) => reference === payment,
  ) ?? ['', { amount: 0 }]
  const answer = await system.sources.provider.call({
    method: 'POST',
    path: '/refunds',
    body: { charge, amount, reference: payment },
    idempotencyKey: `refund:${payment}`,
  })
  expect(answer).toMatchObject({ kind: 'answered', status: 201 })
}

test('what had to follow from an event that was lost follows from its restatement', async () => {
  const app = await startTestApp(environment)
  const shop = await openShop(app.url, app.environment)
  try {
    const [cancelled, refunded] = done.confirmed
    const leaver = await shop.client.signUp('Leaver')
    const left = await shop.buy(leaver, [{ sku: 'tea', quantity: 1 }])
    await shop.eventuallyOrder(left.id, { status: 'confirmed' })
    await eventually(async () => expect(await broken()).toEqual([]), 60_000)

    // The tables as they are when the events of these three changes are on no topic any more.
    await owner.run(
      `update orders.orders set status = 'cancelled', reason = 'requested', version = version + 1 where id = $1`,
      [cancelled?.id ?? ''],
    )
    await owner.run(`update orders.products set stock = stock + 2, version = version + 1 where sku = 'tea'`)
    await refundAtProvider(refunded?.payment ?? '')
    await owner.run(
      `update payments.payments set status = 'refunded', refunded_at = now(), version = version + 1 where id = $1`,
      [refunded?.payment ?? ''],
    )
    await owner.run(
      `update users.users set status = 'closed', name = null, email = null, email_key = null, password_hash = null,
        version = version + 1 where id = $1`,
      [leaver.id],
    )
    expect(await broken()).not.toEqual([])

    for (const module of ['users', 'orders', 'payments']) await republish(module)
    await shop.eventuallyPayment(cancelled?.payment ?? '', { status: 'refunded' })
    await shop.eventuallyOrder(refunded?.id ?? '', { status: 'cancelled', reason: 'refunded' })
    await shop.eventuallyOrder(left.id, { status: 'cancelled', reason: 'user-closed' })
    await eventually(async () => expect(await broken()).toEqual([]), 60_000)
  } finally {
    await shop.close()
    await app.stop()
  }
})
