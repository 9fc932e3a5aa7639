import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { examine } from '../../scripts/invariants/examine.ts'
import { readTopic } from '../../scripts/invariants/read-topic.ts'
import { systemAtRest } from '../../scripts/invariants/breaches/system-at-rest.ts'
import { sleep } from '#platform/retry'
import { buyUntil } from './buying.ts'
import { eventually } from './eventually.ts'
import { openGate } from './gate.ts'
import { startProcess } from './process.ts'
import { openShop } from './shop.ts'

setDefaultTimeout(400_000)

const system = await systemAtRest()
const gate = await openGate(system.environment['ORDERS_DATABASE_URL'] ?? '')
const environment = { ...system.environment, KAFKA_SESSION_TIMEOUT_MS: '1500', RELAY_LEASE_MS: '1000' }

/** How many relays hold leases of the outbox of orders that have not run out. */
const owners = async (): Promise<number> => {
  const [row] = await system.owner.run(
    `select count(distinct owner)::int as owners from orders.relay_leases where expires_at > clock_timestamp()`,
  )
  return Number(row?.['owners'])
}

/** The names under which the relay's question for messages is prepared, each in its connection. */
const questions = new Map<number, string>()

/** Whether a client's packet asks for messages: it prepares the statement, or binds what was prepared. */
const asksForMessages = (connection: number, bytes: Buffer): boolean => {
  const text = bytes.toString('latin1')
  const at = text.indexOf('select id, message_id, topic')
  if (at > 0) questions.set(connection, text.slice(text.lastIndexOf('P', at) + 5, at))
  const name = questions.get(connection)
  return name !== undefined && text.includes(name)
}

/** Is told when the relay has been given messages; from the start, since a statement is prepared once. */
let given = () => {}
let asked: number | undefined
gate.watch(({ from, connection, bytes }) => {
  if (from === 'client' && asksForMessages(connection, bytes)) asked = connection
  if (from === 'service' && connection === asked) {
    asked = undefined
    // An answer without a row is shorter.
    if (bytes.length > 1_000) given()
  }
  return true
})

const stalling = await startProcess({ ...environment, ORDERS_DATABASE_URL: gate.url })
const other = await startProcess(environment)
const shop = await openShop(other.url, environment)

afterAll(async () => {
  stalling.child.kill('SIGCONT')
  for (const { child } of [stalling, other]) child.kill('SIGTERM')
  await Promise.all([stalling.child.exited, other.child.exited])
  await shop.close()
  await gate.close()
  await system.stop()
})

/** Freezes the process when its relay has been given messages to send: it goes on with them in its hand. */
const freezeWithMessages = (afterMs: number): Promise<void> =>
  new Promise((resolve) => {
    given = () => {
      given = () => {}
      setTimeout(() => {
        stalling.child.kill('SIGSTOP')
        resolve()
      }, afterMs)
    }
  })

/** What the outbox holds now has gone. */
const relayed = async () => {
  const [row] = await system.owner.run('select coalesce(max(id), 0)::text as last from orders.outbox')
  await eventually(async () => {
    const left = await system.owner.run('select id from orders.outbox where id <= $1::bigint', [row?.['last'] ?? 0])
    expect(left).toEqual([])
  }, 60_000)
}

const broken = async () =>
  (await examine(system.sources)).flatMap(({ broken, waiting }) => [...broken.lines, ...waiting.lines])

test('a process that stalls with messages in its hand, past its leases, and wakes up swaps none and doubles no effect', async () => {
  const products = await Promise.all([shop.newProduct(100_000), shop.newProduct(100_000)])
  const enough = new AbortController()
  const buying = buyUntil(shop, products, enough.signal)
  // Frozen at once, while it sends, and behind that; the last time for as long as a machine that is suspended.
  for (const { afterMs, forMs } of [
    { afterMs: 0, forMs: 3_000 },
    { afterMs: 1, forMs: 3_000 },
    { afterMs: 3, forMs: 3_000 },
    { afterMs: 8, forMs: 3_000 },
    { afterMs: 2, forMs: 30_000 },
  ]) {
    await eventually(async () => expect(await owners()).toBe(2), 60_000)
    await freezeWithMessages(afterMs)
    await eventually(async () => expect(await owners()).toBe(1), 30_000)
    await sleep(forMs)
    await relayed()
    stalling.child.kill('SIGCONT')
  }
  enough.abort()
  await buying
  await eventually(async () => expect(await broken()).toEqual([]), 120_000)

  // It did wake up with messages in its hand that somebody else had sent.
  const ids: string[] = []
  await readTopic(system.sources.broker, 'order-events', ({ headers }) => ids.push(headers['ce_id'] ?? ''))
  expect(ids.length).toBeGreaterThan(new Set(ids).size)
})
