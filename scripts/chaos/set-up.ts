import { z } from 'zod'
import type { Environment } from '../../src/config.ts'
import { type World, register } from './commands.ts'
import { createDoor } from './door.ts'
import type { Random } from './random.ts'
import { type Record, createRecord } from './record.ts'
import { createSeen } from './seen.ts'
import { eachOf } from './verify/read.ts'

const customers = 16
const products = 30
const stockOfEach = 500

const demand = async (door: World['door'], request: Parameters<World['door']['ask']>[0]): Promise<unknown> => {
  const answer = await door.ask(request)
  if (answer && answer.status < 300) return answer.body
  throw new Error(`${request.method} ${request.path} was answered ${answer?.status} ${JSON.stringify(answer?.body)}`)
}

const fillShelves = async ({ door, operator, skus, random }: World, record: Record) => {
  await eachOf(skus, async (sku) => {
    const price = { amount: random.between(100, 10_000), currency: 'EUR' }
    await demand(door, { method: 'PUT', path: `/products/${sku}`, token: operator, body: { name: sku, price } })
    const key = Bun.randomUUIDv7()
    const body = { delta: stockOfEach }
    await demand(door, { method: 'POST', path: `/products/${sku}/stock`, token: operator, key, body })
    record.addStock(sku, stockOfEach)
  })
}

/** Everything that the load needs: an operator, a shop with full shelves, and customers who have signed in. */
export const setUp = async (urls: string[], environment: Environment, random: Random, signal: AbortSignal) => {
  const record = createRecord()
  const door = createDoor(urls, signal)
  const credentials = { email: environment['OPERATOR_EMAIL'], password: environment['OPERATOR_PASSWORD'] }
  const session = await demand(door, { method: 'POST', path: '/sessions', body: credentials, timeoutMs: 15_000 })
  const operator = z.object({ token: z.string() }).parse(session).token
  const skus = Array.from({ length: products }, (_, at) => `thing-${at}`)
  const world: World = { door, record, seen: createSeen(random, record), random, operator, skus }
  await fillShelves(world, record)
  await eachOf(Array(customers).keys(), async () => void (await register(world)))
  signal.throwIfAborted()
  const prober = record.customers[0]
  if (!prober) throw new Error('Nobody could be registered.')
  record.begin()
  return { world, prober }
}
