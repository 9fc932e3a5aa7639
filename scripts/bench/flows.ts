import { z } from 'zod'
import { openPostgres } from '#platform/postgres'
import { bareKafka } from './bare-kafka.ts'
import { asOwner } from './environment.ts'
import { createStopwatch, openLoop } from './latency.ts'
import { openPgbench, pgbenchTool } from './pgbench.ts'
import { type Bench, type Row, type Scenario, alternate, format, median } from './scenario.ts'
import { type Server, type SignedIn, request, signIn, signInOperator, spawnOurs } from './server.ts'

/** What is begun by a POST, and which message on `order-events` says that it has ended. */
type Flow = { name: 'order' | 'checkout'; path: string; ends: (type: string, value: Buffer) => boolean }

const order: Flow = {
  name: 'order',
  path: '/orders',
  ends: (type) => type === 'orders.order-confirmed.v1' || type === 'orders.order-cancelled.v1',
}

const changed = z.object({ status: z.string() })

const checkout: Flow = {
  name: 'checkout',
  path: '/checkouts',
  ends: (type, value) =>
    type === 'orders.checkout-changed.v1' &&
    ['completed', 'compensated', 'needs-operator'].includes(changed.parse(JSON.parse(value.toString())).status),
}

// With half as many the machine is not busy; with half as many again no more of them end.
const inFlight = 256
const customers = 8
const skus = Array.from({ length: 100 }, (_, index) => `bench-${index}`)

/** Products with more stock than the bench can buy. */
const stockUp = async (server: Server, token: string): Promise<void> => {
  for (const sku of skus) {
    const price = { amount: 1_999, currency: 'EUR' }
    await request(server, 'PUT', `/products/${sku}`, { token, body: { name: sku, price } })
    await request(server, 'POST', `/products/${sku}/stock`, { token, body: { delta: 1_000_000 } })
  }
}

/** Calls `seen` with the key of each message that ends the flow, from now on. */
const watchEnds = async (bench: Bench, { ends }: Flow, seen: (id: string) => void) => {
  const consumer = bareKafka(bench).consumer({ groupId: `bench-${Bun.randomUUIDv7()}` })
  const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve))
  await consumer.connect()
  await consumer.subscribe({ topics: ['order-events'], fromBeginning: true })
  await consumer.run({
    eachMessage: ({ message: { key, headers, value } }) => {
      if (value && ends(String(headers?.['ce_type']), value)) seen(key?.toString() ?? '')
      return Promise.resolve()
    },
  })
  await joined
  return () => consumer.disconnect()
}

/** How many transactions the server has committed, and how many messages the outboxes have taken. */
const openCounters = ({ environment }: Bench) => {
  const owner = openPostgres({ url: environment['DATABASE_URL'] ?? '', name: 'bench-counters', poolSize: 2 })
  const statement = `select xact_commit::float8 as transactions,
      (select sum(last_value)::float8 from pg_sequences where sequencename = 'outbox_id_seq') as messages
    from pg_stat_database where datname = current_database()`
  return {
    read: async () => {
      const [row] = await owner.run(statement)
      return { transactions: Number(row?.['transactions']), messages: Number(row?.['messages']) }
    },
    close: () => owner.close(),
  }
}

type Saturated = { perSecond: number; p50: number; p99: number; transactions: number; messages: number }

const measureFlow = async (bench: Bench, flow: Flow): Promise<Row[]> => {
  const server = await spawnOurs(bench)
  const pgbench = await openPgbench(bench, (script) => asOwner(bench, script))
  const counters = openCounters(bench)
  let watch = createStopwatch()
  let ended = 0
  let next: (() => void)[] = []
  const unwatch = await watchEnds(bench, flow, (id) => {
    ended += 1
    watch.seen(id)
    next.pop()?.()
  })
  try {
    await stockUp(server, await signInOperator(server, bench))
    const buyers: SignedIn[] = []
    for (let n = 0; n < customers; n += 1) buyers.push(await signIn(server))
    let turn = 0
    const begin = async (): Promise<void> => {
      turn += 1
      const token = buyers[turn % buyers.length]?.token ?? ''
      const lines = [turn, turn * 7 + 3].map((n) => ({ sku: skus[n % skus.length], quantity: 1 }))
      const body = { lines: lines[0]?.sku === lines[1]?.sku ? lines.slice(1) : lines, paymentToken: 'tok_visa' }
      const at = performance.now()
      const { id } = await request(server, 'POST', flow.path, { token, body })
      watch.began(String(id), at)
    }

    /** Keeps so many under way for so long; those that are left at the end are waited for and not counted. */
    const saturate = async (seconds: number): Promise<Saturated> => {
      watch = createStopwatch()
      const before = await counters.read()
      const startedAt = performance.now()
      const already = ended
      const buyer = async () => {
        while (performance.now() < startedAt + seconds * 1_000) {
          const free = new Promise<void>((resolve) => (next = [resolve, ...next]))
          await begin()
          await free
        }
      }
      await Promise.all(Array.from({ length: inFlight }, buyer))
      const tookSeconds = (performance.now() - startedAt) / 1_000
      const { p50, p99 } = await watch.latency()
      const done = ended - already
      const after = await counters.read()
      return {
        perSecond: done / tookSeconds,
        p50,
        p99,
        transactions: (after.transactions - before.transactions) / done,
        messages: (after.messages - before.messages) / done,
      }
    }

    const clients = 32
    await saturate(bench.seconds)
    const measured = await alternate(
      bench,
      {
        limit: async () => ({ perSecond: (await pgbench.measure({ clients, seconds: bench.seconds })) / 6 }),
        figure: () => saturate(bench.seconds * 2),
      },
      (side) => `${format(side.perSecond)}/s`,
    )
    const saturated = measured.figure as Saturated[]
    const half = median(saturated.map(({ perSecond }) => perSecond)) / 2
    const atHalf: { p50: number; p99: number }[] = []
    for (let run = 1; run <= bench.runs; run += 1) {
      watch = createStopwatch()
      await openLoop({ seconds: bench.seconds, perSecond: half }, begin)
      const latency = await watch.latency()
      atHalf.push(latency)
      bench.progress(`  half load ${run}: p50 ${format(latency.p50)} ms and p99 ${format(latency.p99)} ms`)
    }
    const each = (name: 'transactions' | 'messages') => format(median(saturated.map((run) => run[name])))
    return [
      {
        scenario: flow.name,
        figure: `POST ${flow.path} to its end, ${inFlight} under way; each used ${each('transactions')} transactions and ${each('messages')} messages`,
        unit: 'ended/s',
        figures: saturated.map(({ perSecond }) => perSecond),
        limit: `pgbench -M prepared -c ${clients} -s 50, its own transaction, divided by 6`,
        limits: measured.limit.map(({ perSecond }) => perSecond),
        ...(flow === checkout ? { target: { atLeast: 1 } } : {}),
      },
      ...(['p50', 'p99'] as const).map((name) => ({
        scenario: `${flow.name} ${name}`,
        figure: `from the request to the end, at saturation`,
        unit: 'ms',
        figures: saturated.map((run) => run[name]),
        limit: 'half a second',
        limits: [500],
      })),
      ...(['p50', 'p99'] as const).map((name) => ({
        scenario: `${flow.name} ${name}, half`,
        figure: `the same at half that load, ${format(half)} a second`,
        unit: 'ms',
        figures: atHalf.map((run) => run[name]),
        limit: 'half a second',
        limits: [500],
        ...(name === 'p99' ? { target: { atMost: 1 } } : {}),
      })),
    ]
  } finally {
    await unwatch()
    await server.stop()
    await Promise.all([counters.close(), pgbench.close()])
  }
}

const scenario = (flow: Flow): Scenario => ({
  name: flow.name,
  needs: [pgbenchTool],
  run: (bench) => measureFlow(bench, flow),
})

export const orders = scenario(order)
export const checkouts = scenario(checkout)
