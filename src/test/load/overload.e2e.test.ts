import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { median } from '../../../scripts/bench/scenario.ts'
import { testEnvironment } from '../app.ts'
import { startProcess } from '../process.ts'
import { openShop } from '../shop.ts'

const floodMs = 60_000
const clients = 200

setDefaultTimeout(4 * floodMs)

const environment = await testEnvironment()
const started = await startProcess({ ...environment, MAX_REQUESTS_IN_FLIGHT: '20' })
const shop = await openShop(started.url, environment)

afterAll(async () => {
  await shop.close()
  started.child.kill('SIGTERM')
  await started.child.exited
})

/** What the process holds in memory, in MiB. */
const residentMib = (): number => {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${started.child.pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1_024
}

test('under ten times the load that it takes, a process refuses with Retry-After, does not grow, and recovers', async () => {
  const [buyer, product] = [await shop.newBuyer(), await shop.newProduct(1_000_000)]
  const lines = [{ sku: product.sku, quantity: 1 }]
  const accepted: string[] = []
  const memory: number[] = []
  const statuses = new Map<number, number>()
  const startedAt = performance.now()
  const lasts = () => performance.now() - startedAt < floodMs

  const flood = async () => {
    while (lasts()) {
      const answer = await shop.client.raw('POST', '/orders', {
        token: buyer.token,
        body: { lines, paymentToken: 'tok_visa' },
      })
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
      const body = (await answer.json()) as { id: string; code?: string }
      if (answer.status === 202) accepted.push(body.id)
      else
        expect([answer.status, body.code, Number(answer.headers.get('retry-after')) > 0]).toEqual([
          503,
          'overloaded',
          true,
        ])
    }
  }
  const watch = async () => {
    while (lasts()) {
      memory.push(residentMib())
      await Bun.sleep(500)
    }
  }
  await Promise.all([watch(), ...Array.from({ length: clients }, flood)])

  expect(new Set(statuses.keys())).toEqual(new Set([202, 503]))
  // The first third is for what a process that has begun to work comes to hold.
  const [early, late] = [
    memory.slice(memory.length / 3, (memory.length * 2) / 3),
    memory.slice((memory.length * 2) / 3),
  ]
  expect(median(late)).toBeLessThan(median(early) * 1.25)

  for (let again = 0; again < 20; again += 1) accepted.push((await shop.buy(buyer, lines)).id)
  for (const id of [...accepted.slice(0, 20), ...accepted.slice(-20)]) {
    await shop.eventuallyOrder(id, { status: 'confirmed' })
  }
})
