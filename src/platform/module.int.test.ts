import { expect, setDefaultTimeout, test } from 'bun:test'
import { startTestApp, testEnvironment } from '../test/app.ts'
import { eventually } from '../test/eventually.ts'
import { tcpProxy } from '../test/tcp-proxy.ts'

setDefaultTimeout(60_000)

/** How many round trips a second the next `count` of them take. */
const rateOf = async (trips: () => number, count: number): Promise<number> => {
  let asked = 0
  trips()
  const startedAt = performance.now()
  await eventually(() => {
    asked += trips()
    expect(asked).toBeGreaterThanOrEqual(count)
  }, 30_000)
  return asked / ((performance.now() - startedAt) / 1_000)
}

test('a process at rest asks its databases at most three times a second, leases and timers included', async () => {
  const environment = await testEnvironment()
  const names = ['USERS_DATABASE_URL', 'ORDERS_DATABASE_URL', 'PAYMENTS_DATABASE_URL']
  const proxies = await Promise.all(names.map((name) => tcpProxy(environment[name] ?? '')))
  const trips = () => proxies.map((proxy) => proxy.trips()).reduce((sum, count) => sum + count, 0)
  const process = await startTestApp(Object.fromEntries(names.map((name, index) => [name, proxies[index]?.url])))
  try {
    await Promise.all(Object.values(process.app.hosted).map((module) => module.relayed()))
    await eventually(async () => expect(await process.app.notReady()).toEqual([]), 20_000)
    // A slow machine takes longer for the same twelve; only a process that asks more often is quicker.
    await eventually(async () => expect(await rateOf(trips, 12)).toBeLessThanOrEqual(3), 30_000)
  } finally {
    await process.stop()
    for (const proxy of proxies) proxy.close()
  }
})
