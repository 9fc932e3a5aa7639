import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { startTestApp } from '../test/app.ts'
import { type Answer, type Client, createClient, refusal } from '../test/client.ts'
import { openDetour } from '../test/detour.ts'
import { eventually } from '../test/eventually.ts'
import { openInstance } from '../test/instance.ts'
import { openShop, patienceMs } from '../test/shop.ts'
import { stuckCheckout } from '../test/stuck-checkout.ts'

setDefaultTimeout(120_000)

const app = await startTestApp({}, 'users|orders|payments')
const shop = await openShop(app.url, app.environment)
const clients = app.urls.map(createClient)
const operator = { token: shop.operator }
const { USERS_URL: _, ORDERS_URL: __, ...environment } = app.environment

afterAll(async () => {
  for (const { run } of Object.values(app.app.databases))
    await run(`delete from dead_letters where key like 'planted%'`)
  await app.stop()
  await shop.close()
})

const listing = z.object({
  items: z.array(z.looseObject({ id: z.string(), module: z.string() })),
  missing: z.array(z.object({ module: z.string(), code: z.string(), detail: z.string() })).optional(),
})

const list = async (client: Client, path: string) => {
  const { status, body } = await client.send('GET', path, operator)
  expect(status).toBe(200)
  return listing.parse(body)
}

/** A dead letter of each module. */
const park = async () => {
  const ids = { users: Bun.randomUUIDv7(), orders: Bun.randomUUIDv7(), payments: Bun.randomUUIDv7() }
  for (const [module, id] of Object.entries(ids)) {
    await app.app.databases[module as keyof typeof ids].run(
      `insert into dead_letters (id, consumer, topic, key, headers, value, code, error, attempts, position)
        values ($1, $2, $3, $4, '{}', convert_to('no JSON', 'UTF8'), 'undecodable', 'on purpose', 1, $4)`,
      [id, `${module}.order-events`, 'order-events', `planted ${id}`],
    )
  }
  return ids
}

const mine = ({ items }: z.infer<typeof listing>, ids: Record<string, string>) =>
  Object.fromEntries(items.filter(({ id }) => Object.values(ids).includes(id)).map(({ id, module }) => [module, id]))

describe('the dead letters', () => {
  test('of all modules are listed by every process, those of one by its name', async () => {
    const ids = await park()
    for (const client of clients) {
      const all = await list(client, '/ops/dead-letters')
      expect([mine(all, ids), all.missing]).toEqual([ids, undefined])
      const { items } = await list(client, '/ops/dead-letters?module=orders')
      expect(new Set(items.map(({ module }) => module))).toEqual(new Set(['orders']))
    }
    const unknown = await shop.client.send('GET', '/ops/dead-letters?module=carts', operator)
    expect(refusal(unknown)).toEqual({ status: 400, code: 'invalid-input' })
  })

  test('are skipped from every process, once for each Idempotency-Key', async () => {
    const ids = await park()
    for (const id of Object.values(ids)) {
      const sent = { ...operator, headers: { 'idempotency-key': id } }
      const answers: Answer[] = []
      for (const client of clients) answers.push(await client.send('POST', `/ops/dead-letters/${id}/skip`, sent))
      expect(answers.map(({ status, body }) => ({ status, body }))).toEqual(
        answers.map(() => ({ status: 202, body: answers[0]?.body })),
      )
      const again = await shop.client.send('POST', `/ops/dead-letters/${id}/skip`, operator)
      expect(refusal(again)).toEqual({ status: 409, code: 'already-resolved' })
    }
  })

  test('that nobody has are not found by any process', async () => {
    for (const client of clients) {
      const answer = await client.send('POST', `/ops/dead-letters/${Bun.randomUUIDv7()}/skip`, operator)
      expect(refusal(answer)).toEqual({ status: 404, code: 'not-found' })
    }
  })
})

test('a checkout that is stuck is listed and helped from every process', async () => {
  for (const client of clients) {
    const { id } = await stuckCheckout(shop, 'needs-operator')
    expect((await list(client, '/ops/sagas')).items).toContainEqual(expect.objectContaining({ id, module: 'orders' }))
    expect((await client.send('POST', `/ops/sagas/${id}/retry`, operator)).status).toBe(202)
    await shop.eventuallyCheckout(id, { status: 'compensated' })
  }
})

test('the story of a request is whole from every process, and says what is missing where one does not answer', async () => {
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  const correlationId = `story/${Bun.randomUUIDv7()}`
  const body = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }
  const sent = { token: buyer.token, body, headers: { 'correlation-id': correlationId } }
  expect((await shop.client.send('POST', '/orders', sent)).status).toBe(202)
  const read = (client: Client) => client.send('GET', `/ops/flows/${encodeURIComponent(correlationId)}`, operator)
  for (const client of clients) {
    await eventually(async () => {
      const { status, body } = await read(client)
      expect({ status, body }).toMatchObject({ status: 200, body: { outcome: 'settled' } })
      expect(JSON.stringify(body)).toContain('payments.payment-captured.v1')
      expect(JSON.stringify(body)).toContain('orders.order-confirmed.v1')
    }, patienceMs)
  }
  const { client, close } = await openInstance({ ...environment, MODULES: 'payments' })
  expect((await read(client)).body).toMatchObject({ missing: [{ module: 'users' }, { module: 'orders' }] })
  const unknown = await client.send('GET', '/ops/flows/nobody', operator)
  expect(refusal(unknown)).toEqual({ status: 503, code: 'module-not-hosted' })
  await close()
})

describe('a process that cannot ask all of the others', () => {
  test('lists what it has and names what is missing', async () => {
    const ids = await park()
    const toOrders = await openDetour(app.urls[1] ?? '')
    const { client, close } = await openInstance({ ...environment, MODULES: 'payments', ORDERS_URL: toOrders.url })
    const { orders, payments } = ids
    const some = await list(client, '/ops/dead-letters')
    expect(mine(some, ids)).toEqual({ orders, payments })
    expect(some.missing).toMatchObject([{ module: 'users', code: 'module-not-hosted' }])
    await toOrders.cut()
    const alone = await list(client, '/ops/dead-letters')
    expect(mine(alone, ids)).toEqual({ payments })
    expect(new Set(alone.missing?.map(({ module, code }) => `${module} ${code}`))).toEqual(
      new Set(['users module-not-hosted', 'orders module-not-answering']),
    )
    const asked = await client.send('GET', '/ops/dead-letters?module=orders', operator)
    expect(refusal(asked)).toEqual({ status: 503, code: 'module-not-answering' })
    await close()
  })

  test('does not say of what it cannot find that it is not there', async () => {
    const { client, close } = await openInstance({ ...environment, MODULES: 'payments' })
    const answer = await client.send('POST', `/ops/sagas/${Bun.randomUUIDv7()}/retry`, operator)
    expect(refusal(answer)).toEqual({ status: 503, code: 'module-not-hosted' })
    await close()
  })
})
