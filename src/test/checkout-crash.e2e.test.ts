import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { checkoutSnapshot } from '#modules/orders'
import { testEnvironment } from './app.ts'
import { eventually } from './eventually.ts'
import { type Gate, openGate } from './gate.ts'
import { startProcess } from './process.ts'
import { type Checkout, openShop, patienceMs } from './shop.ts'

setDefaultTimeout(400_000)

const services = await testEnvironment()
const gates = {
  orders: await openGate(services['ORDERS_DATABASE_URL'] ?? ''),
  payments: await openGate(services['PAYMENTS_DATABASE_URL'] ?? ''),
}
const environment = {
  ...services,
  ORDERS_DATABASE_URL: gates.orders.url,
  PAYMENTS_DATABASE_URL: gates.payments.url,
  KAFKA_SESSION_TIMEOUT_MS: '1000',
  RELAY_LEASE_MS: '500',
}

const start = async () => {
  const process = await startProcess(environment)
  return { ...process, shop: await openShop(process.url, services) }
}

let running = await start()

/** Ends the process; time passes, and what it had claimed is free again. */
const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
  const { child, shop } = running
  child.kill(signal)
  await child.exited
  for (const { run } of [shop.orders, shop.payments]) await run('update timers set due_at = now() where attempts > 0')
  await shop.close()
}

afterAll(async () => {
  await end('SIGTERM')
  await Promise.all(Object.values(gates).map((gate) => gate.close()))
})

/** A packet that the process sends to a module's database, counted from when the checkout is asked for. */
type Point = { module: keyof typeof gates; packet: number; when: 'before' | 'after' }

/** What a packet begins with that only prepares a statement: it changes nothing, so it is not counted. */
const parse = 'P'.charCodeAt(0)

/**
 * Kills the process at a point: before the packet reaches the database, or after the database has done what it says and
 * before the process hears of it.
 */
const killAt = ({ module, packet, when }: Point) => {
  const gate: Gate = gates[module]
  const { child } = running
  let count = 0
  let dead = false
  let answering: number | undefined
  const kill = () => {
    gate.open()
    child.kill('SIGKILL')
    dead = true
    return false
  }
  gate.watch(({ from, connection, bytes }) => {
    if (from === 'service') return connection === answering ? kill() : true
    if (bytes[0] === parse) return true
    count += 1
    if (count !== packet) return true
    if (when === 'before') return kill()
    answering = connection
    return true
  })
  return { happened: () => dead, callOff: () => gate.open() }
}

const endings = { tok_visa: 'completed', tok_declined: 'compensated' } as const

type Token = keyof typeof endings

const pieces = { stock: 5, bought: 2 }

/** Expects that the checkout of a buyer's only purchase has ended, with every effect there once. */
const expectWhole = async (checkout: Checkout, token: Token, sku: string, amount: number) => {
  const { shop } = running
  const ended = await shop.eventuallyCheckout(checkout.id, { status: endings[token], userId: checkout.userId })
  const orderId = ended.orderId ?? ''
  const completed = token === 'tok_visa'
  await shop.eventuallyOrder(orderId, {
    status: completed ? 'confirmed' : 'cancelled',
    reason: completed ? null : 'checkout-failed',
    paymentId: ended.paymentId,
    version: 2,
  })
  await eventually(
    async () => expect(await shop.paymentOf(orderId)).toMatchObject({ status: completed ? 'captured' : 'declined' }),
    patienceMs,
  )
  await shop.eventuallyStock(sku, completed ? pieces.stock - pieces.bought : pieces.stock)
  await shop.quiet(orderId)
  expect(await shop.ledgerOf(amount)).toEqual(completed ? ['capture'] : [])
  await shop.expectBalanced(sku)
  const counted = await shop.orders.run(
    `select (select count(*) from orders where user_id = $1)::int as orders,
      (select count(*) from sagas where state->'data'->>'userId' = $1::text)::int as sagas,
      (select count(*) from dead_letters where key = any($2::text[]))::int as parked`,
    [checkout.userId, `{${[checkout.id, orderId, ended.paymentId, sku].filter(Boolean).join(',')}}`],
  )
  expect(counted).toEqual([{ orders: 1, sagas: 1, parked: 0 }])
}

/** Checks out while the process is killed at the point, and goes on with the next process; false when it was never reached. */
const survive = async (point: Point, token: Token): Promise<boolean> => {
  const buyer = await running.shop.newBuyer()
  const { sku, price } = await running.shop.newProduct(pieces.stock)
  const sent = {
    token: buyer.token,
    headers: { 'idempotency-key': Bun.randomUUIDv7() },
    body: { lines: [{ sku, quantity: pieces.bought }], paymentToken: token },
  }
  const post = async () => {
    const { status, headers, body } = await running.shop.client.send('POST', '/checkouts', sent)
    expect(status).toBe(202)
    return { location: headers.get('location'), checkout: checkoutSnapshot.omit({ version: true }).parse(body) }
  }
  const kill = killAt(point)
  const first = await post().catch((error: unknown) => {
    if (!kill.happened()) throw error
  })
  await eventually(async () => {
    if (kill.happened()) return
    expect(first && (await running.shop.readCheckout(first.checkout.id)).status).toBe(endings[token])
  }, patienceMs)
  kill.callOff()
  const reached = kill.happened()
  if (reached) {
    await end('SIGKILL')
    running = await start()
  }
  const again = await post()
  if (first) expect(again).toEqual(first)
  await expectWhole(again.checkout, token, sku, pieces.bought * price.amount)
  return reached
}

/**
 * Walks through the packets of a module, `stride` at a time, until a checkout ends before it comes that far. Of each stride one
 * kill comes before a packet, and one after the next: what is in the database then differs, and what has left the process.
 */
const surviveAll = async (module: Point['module'], token: Token, stride: number): Promise<number> => {
  for (let kills = 0, packet = 1; ; packet += stride) {
    for (const point of [
      { module, packet, when: 'before' },
      { module, packet: packet + 1, when: 'after' },
    ] as const) {
      const reached = await survive(point, token).catch((cause: unknown) => {
        throw new Error(`killed ${point.when} packet ${point.packet} to ${module}, paid with ${token}`, { cause })
      })
      if (!reached) return kills
      kills += 1
    }
  }
}

const cases = [
  { module: 'orders', token: 'tok_visa', stride: 6, least: 8 },
  { module: 'payments', token: 'tok_visa', stride: 4, least: 8 },
  { module: 'orders', token: 'tok_declined', stride: 14, least: 4 },
  { module: 'payments', token: 'tok_declined', stride: 12, least: 2 },
] as const

for (const { module, token, stride, least } of cases) {
  test(`a checkout with ${token} survives kill -9 between any two statements of ${module}`, async () => {
    expect(await surviveAll(module, token, stride)).toBeGreaterThan(least)
  })
}
