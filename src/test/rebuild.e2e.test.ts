import { afterAll, afterEach, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { manyOrders } from '../../scripts/invariants/breaches/many-orders.ts'
import { systemAtRest } from '../../scripts/invariants/breaches/system-at-rest.ts'
import { examine } from '../../scripts/invariants/examine.ts'
import { redis } from '../../scripts/services/redis.ts'
import { startTestApp } from './app.ts'
import { buyUntil } from './buying.ts'
import { eventually } from './eventually.ts'
import { ownServer } from './own-server.ts'
import { openTestRedis } from './redis.ts'
import { runScript } from './script.ts'
import { openShop } from './shop.ts'
import { tcpProxy } from './tcp-proxy.ts'

setDefaultTimeout(300_000)

const system = await systemAtRest()
// So many that Redis is not filled in a moment.
await manyOrders(system, 5_500).plant()
const server = await ownServer(redis, 'rebuild-redis')
const environment = { ...system.environment, REDIS_URL: server.url }
// What a rebuild has read is old when it arrives.
const slowly = await tcpProxy(server.url, { delayMs: 30 })
const app = await startTestApp(environment)
const shop = await openShop(app.url, app.environment)
const products = await Promise.all([shop.newProduct(100_000), shop.newProduct(100_000)])
let enough = new AbortController()

const complete = () =>
  eventually(async () => {
    const found = await Promise.all(Object.values(app.app.hosted).map(({ snapshots }) => snapshots.complete()))
    expect(found).toEqual([true, true, true])
  }, 60_000)

await complete()

afterEach(() => enough.abort())

afterAll(async () => {
  await shop.close()
  await app.stop()
  slowly.close()
  await server.remove()
  await system.stop()
})

const versioned = z.object({ version: z.int() })

/** Reads what is there, again and again, and notes what no reader may see. */
const readAlways = async (paths: string[], mayBeAway: boolean) => {
  const seen = new Map<string, number>()
  const wrong = new Set<string>()
  let reads = 0
  const read = async (path: string): Promise<void> => {
    const { status, body } = await shop.client.send('GET', path, { token: shop.operator })
    reads += 1
    if (status === 503 && mayBeAway) return
    if (status !== 200) return void wrong.add(`${path} is answered ${status}`)
    const { version } = versioned.parse(body)
    const before = seen.get(path) ?? 0
    if (version < before) wrong.add(`${path} is answered with version ${version} after ${before}`)
    seen.set(path, version)
  }
  for (let at = 0; !enough.signal.aborted; at += 1) await read(paths[at % paths.length] ?? '')
  return { wrong: [...wrong], reads, seen }
}

const rename = async (id: string, mayBeAway: boolean): Promise<number> => {
  let renamed = 0
  while (!enough.signal.aborted) {
    const body = { name: `Ada ${renamed}` }
    const { status } = await shop.client.send('PATCH', `/users/${id}`, { token: shop.operator, body })
    if (!(status === 503 && mayBeAway)) expect(status).toBe(200)
    renamed += 1
  }
  return renamed
}

/** Customers buy, a user is renamed and two readers read while `work` is done; what the readers saw must be right. */
const meanwhile = async (work: () => Promise<unknown>, { mayBeAway }: { mayBeAway: boolean }) => {
  enough = new AbortController()
  const paths = [
    `/users/${system.done.user}`,
    ...system.done.confirmed.slice(0, 5).flatMap(({ id, payment }) => [`/orders/${id}`, `/payments/${payment}`]),
  ]
  const going = Promise.all([
    readAlways([paths[0] ?? ''], mayBeAway),
    readAlways(paths, mayBeAway),
    buyUntil(shop, products, enough.signal, 3),
    rename(system.done.user, mayBeAway),
  ])
  await Promise.race([work(), going])
  enough.abort()
  const [first, second, bought, renamed] = await going
  expect([...first.wrong, ...second.wrong]).toEqual([])
  expect(Math.min(first.reads, second.reads, bought, renamed)).toBeGreaterThan(0)
  await eventually(async () => {
    const examined = await examine(app.app)
    expect(examined.flatMap(({ broken, waiting }) => [...broken.lines, ...waiting.lines])).toEqual([])
  }, 120_000)
}

test('while snapshots are rebuilt readers are answered, with no older version than before and never that nothing is there', () =>
  meanwhile(
    async () => {
      for (const args of [[], ['orders'], []]) {
        // On a machine with much to do Redis may seem away for a moment, which ends the script.
        await eventually(async () => {
          const script = runScript('snapshots-rebuild', args, { ...environment, REDIS_URL: slowly.url })
          const { code, said } = await script.ended()
          expect({ code, said }).toEqual({ code: 0, said: expect.stringMatching(/orders: \d+ snapshots rebuilt/) })
        }, 120_000)
      }
    },
    { mayBeAway: false },
  ))

test('a Redis that is emptied, and one that is killed, is filled again under load and equals the tables', () =>
  meanwhile(
    async () => {
      const raw = openTestRedis(environment)
      for (let flush = 0; flush < 3; flush += 1) {
        await raw.flushall()
        await complete()
      }
      raw.disconnect()
      await server.end('SIGKILL')
      await server.start()
      await complete()
    },
    { mayBeAway: true },
  ))
