import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { sleep } from '#platform/retry'
import { awaitHealing, withSources } from '../../../scripts/chaos/heal.ts'
import { openStage } from '../../../scripts/chaos/stage.ts'
import { migrate } from '../../../scripts/migrate.ts'
import { parseMigrateConfig } from '../../config.ts'
import { eventually } from '../eventually.ts'
import { startProcess } from '../process.ts'
import { openShop } from '../shop.ts'

const outageMs = 60_000
const patienceMs = 180_000

setDefaultTimeout(outageMs + 2 * patienceMs)

const { signal } = new AbortController()
const stage = await openStage({ profile: `test-${process.pid}-outage`, progress: () => undefined, signal })
await stage.startAll()
// Nothing is to run out of time while nobody can be told.
const environment = { ...process.env, ...stage.environment(), NODE_ENV: 'test', FLOW_DEADLINE_MS: '3600000' }
await migrate(parseMigrateConfig(environment), () => undefined)
const started = await startProcess(environment)
const shop = await openShop(started.url, environment)

afterAll(async () => {
  await shop.close()
  started.child.kill('SIGTERM')
  await started.child.exited
  await stage.remove()
})

test('without a broker for a minute every command is accepted, and all of it is delivered afterwards, in order', async () => {
  const [buyer, product] = [await shop.newBuyer(), await shop.newProduct(10_000)]
  const lines = [{ sku: product.sku, quantity: 1 }]
  const placed: string[] = []
  const checkouts: string[] = []
  const commands = async () => {
    placed.push((await shop.buy(buyer, lines)).id)
    checkouts.push((await shop.checkOut(buyer, lines)).id)
    const cancelled = (await shop.buy(buyer, lines)).id
    expect((await shop.cancel(cancelled)).status).toBe(202)
  }
  await commands()
  await stage.end('broker', 'SIGKILL')
  for (const until = performance.now() + outageMs; performance.now() < until; await sleep(250)) await commands()
  expect(placed.length).toBeGreaterThan(20)

  await stage.start('broker')
  for (const id of placed) await shop.eventuallyOrder(id, { status: 'confirmed' })
  for (const id of checkouts) await shop.eventuallyCheckout(id, { status: 'completed' })
  // The last of the invariants reads every topic: each key's first occurrences are in their order, and nothing is missing.
  const healed = await withSources(environment, (sources) =>
    awaitHealing(sources, { begunAt: performance.now(), limitMs: patienceMs, signal }),
  )
  expect(healed.examined.filter(({ broken }) => broken.count > 0)).toEqual([])
  expect(healed).toMatchObject({ heals: true, failure: undefined })
  await eventually(async () => expect((await fetch(`${started.url}/readyz`)).status).toBe(200), patienceMs)
})
