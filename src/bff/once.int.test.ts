import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { openPostgres } from '#platform/postgres'
import { startTestApp } from '../test/app.ts'
import { type Answer, createClient, refusal } from '../test/client.ts'
import { openDetour } from '../test/detour.ts'
import { eventually } from '../test/eventually.ts'
import { openInstance } from '../test/instance.ts'
import { openShop } from '../test/shop.ts'
import { stuckCheckout } from '../test/stuck-checkout.ts'
import { tcpProxy } from '../test/tcp-proxy.ts'
import { thrownBy } from '../test/thrown.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { client, operator } = shop
const owner = openPostgres({ url: app.environment['DATABASE_URL'] ?? '', name: 'test', poolSize: 2 })
const toOrders = await tcpProxy(app.environment['ORDERS_DATABASE_URL'] ?? '')
const awayOrders = await openDetour(app.environment['ORDERS_DATABASE_URL'] ?? '')
const toApp = await tcpProxy(app.url)

const second = await openInstance(app.environment)
const unsure = await openInstance({ ...app.environment, ORDERS_DATABASE_URL: toOrders.url })
const away = await openInstance({ ...app.environment, ORDERS_DATABASE_URL: awayOrders.url })

afterAll(async () => {
  await Promise.all([second, unsure, away].map(({ close }) => close()))
  await app.stop()
  await Promise.all([shop.close(), owner.close(), awayOrders.cut()])
  for (const proxy of [toOrders, toApp]) proxy.close()
})

const newKey = () => Bun.randomUUIDv7()

type Request = { path: string; token: string; body?: unknown }

const post = ({ path, ...sent }: Request, key: string, through = client) =>
  through.send('POST', path, { ...sent, headers: { 'idempotency-key': key } })

/** What a repeat must have of the first answer. */
const given = ({ status, headers, body }: Answer) => {
  const names = ['location', 'consistency-token', 'content-type']
  return { status, body, ...Object.fromEntries(names.map((name) => [name, headers.get(name)])) }
}

const numberFrom = async (text: string, ...parameters: string[]): Promise<number> => {
  const [row] = await owner.run(text, parameters)
  return Number(row?.['number'])
}

/** A request, the same with something else in it, and how often the two had their effects. */
type Case = {
  status: number
  request: Request
  another: () => Request | Promise<Request>
  effects: () => Promise<number>
}

/** What an operator asks of one thing; another body is the same of another thing. */
const asking =
  (pathOf: (id: string) => string, make: () => Promise<string>, effects: (ids: string) => Promise<number>) =>
  async (): Promise<Case> => {
    const ids: string[] = []
    const one = async () => {
      const id = await make()
      ids.push(id)
      return { path: pathOf(id), token: operator }
    }
    return { status: 202, request: await one(), another: one, effects: () => effects(`{${ids.join()}}`) }
  }

const buying = (path: string, effects: (userId: string) => Promise<number>) => async (): Promise<Case> => {
  const [{ id, token }, { sku }] = [await shop.newBuyer(), await shop.newProduct(1_000)]
  const asking = (quantity: number) => ({
    path,
    token,
    body: { lines: [{ sku, quantity }], paymentToken: 'tok_visa' },
  })
  return { status: 202, request: asking(1), another: () => asking(2), effects: () => effects(id) }
}

const confirmedOrder = async () => {
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  const { id } = await shop.buy(buyer, [{ sku, quantity: 1 }])
  const order = await shop.eventuallyOrder(id, { status: 'confirmed' })
  await shop.quiet(id)
  return { id, token: buyer.token, paymentId: order.paymentId ?? '' }
}

/** A message that is parked although nothing is wrong with it. */
const parkedMessage = async (): Promise<string> => {
  const [id, { id: userId }] = [Bun.randomUUIDv7(), await client.signUp()]
  const headers = {
    ce_specversion: '1.0',
    ce_id: Bun.randomUUIDv7(),
    ce_type: 'users.user-renamed.v1',
    ce_source: '/modules/users',
    ce_subject: userId,
    ce_time: '2026-01-31T12:00:00Z',
  }
  await owner.run(
    `insert into users.dead_letters (id, consumer, topic, key, headers, value, code, error, attempts, position)
      values ($1, 'users.user-events', 'user-events', $2, $3, convert_to($4, 'UTF8'), 'fault', 'on purpose', 5, $5)`,
    [id, userId, JSON.stringify(headers), JSON.stringify({ userId }), `by hand ${id}`],
  )
  return id
}

const resolving = (verb: string) =>
  asking(
    (id) => `/ops/dead-letters/${id}/${verb}`,
    parkedMessage,
    (ids) =>
      numberFrom(
        `select count(*) as number from users.dead_letters where id = any($1::uuid[]) and status <> 'parked'`,
        ids,
      ),
  )

const operating = (verb: string, from: 'needs-operator' | 'running') =>
  asking(
    (id) => `/ops/sagas/${id}/${verb}`,
    async () => (await stuckCheckout(shop, from)).id,
    (ids) =>
      numberFrom(
        `select count(*) as number from orders.saga_history, json_array_elements(heard) as input
          where saga_id = any($1::uuid[]) and input->>'type' = $2`,
        ids,
        verb,
      ),
  )

/** Every POST of a signed-in client that changes something. */
const cases: Record<string, () => Promise<Case>> = {
  'POST /orders': buying('/orders', (userId) =>
    numberFrom('select count(*) as number from orders.orders where user_id = $1', userId),
  ),
  'POST /checkouts': buying('/checkouts', (userId) =>
    numberFrom(`select count(*) as number from orders.sagas where state->'data'->>'userId' = $1`, userId),
  ),
  'POST /orders/:id/cancellation': asking(
    (id) => `/orders/${id}/cancellation`,
    async () => (await confirmedOrder()).id,
    (ids) => numberFrom('select sum(version - 2) as number from orders.orders where id = any($1::uuid[])', ids),
  ),
  'POST /payments/:id/refund': asking(
    (id) => `/payments/${id}/refund`,
    async () => (await confirmedOrder()).paymentId,
    (ids) =>
      numberFrom('select count(*) as number from payments.payments where refund_asked and id = any($1::uuid[])', ids),
  ),
  'POST /settlements': async () => {
    const from = new Date(Math.floor(Math.random() * 1e12)).toISOString()
    const asking = (to: string) => ({ path: '/settlements', token: operator, body: { from, to } })
    const effects = () => numberFrom(`select count(*) as number from payments.jobs where data->>'from' = $1`, from)
    return {
      status: 202,
      request: asking('2026-01-01T00:00:00Z'),
      another: () => asking('2026-01-02T00:00:00Z'),
      effects,
    }
  },
  'POST /products/:sku/stock': async () => {
    const { sku } = await shop.newProduct(5)
    const asking = (delta: number) => ({ path: `/products/${sku}/stock`, token: operator, body: { delta } })
    const effects = () => numberFrom('select (added - 5) / 100 as number from orders.products where sku = $1', sku)
    return { status: 200, request: asking(100), another: () => asking(200), effects }
  },
  'POST /ops/dead-letters/:id/redrive': resolving('redrive'),
  'POST /ops/dead-letters/:id/skip': resolving('skip'),
  'POST /ops/sagas/:id/retry': operating('retry', 'needs-operator'),
  'POST /ops/sagas/:id/skip': operating('skip', 'needs-operator'),
  'POST /ops/sagas/:id/compensate': operating('compensate', 'running'),
}

describe('with an Idempotency-Key', () => {
  for (const [name, prepare] of Object.entries(cases)) {
    test(`${name} gives a repeat the first answer and no second effect, and refuses another body`, async () => {
      const { status, request, another, effects } = await prepare()
      const key = newKey()
      const first = await post(request, key)
      expect(first.status).toBe(status)
      for (const through of [client, second.client])
        expect(given(await post(request, key, through))).toEqual(given(first))
      const other = await another()
      expect(refusal(await post(other, key))).toEqual({ status: 422, code: 'idempotency-key-reused' })
      expect(await effects()).toBe(1)
      expect((await post(other, newKey())).status).toBe(status)
      expect(await effects()).toBeGreaterThan(1)
    })

    test(`${name} has one effect when it is sent twenty times at the same moment`, async () => {
      const { status, request, effects } = await prepare()
      const key = newKey()
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, time) => post(request, key, time % 2 === 0 ? client : second.client)),
      )
      const different = new Set(answers.map((answer) => JSON.stringify(given(answer))))
      expect([...different]).toHaveLength(1)
      for (const answer of answers) expect(answer.status).toBe(status)
      expect(await effects()).toBe(1)
    })

    test(`${name} is answered by another process after the first answer was lost with its connection`, async () => {
      const { status, request, effects } = await prepare()
      const key = newKey()
      toApp.cutAfter(key)
      const { path, ...sent } = request
      const lost = createClient(toApp.url.replace(/\/$/, '')).raw('POST', path, {
        ...sent,
        headers: { 'idempotency-key': key },
      })
      expect(await thrownBy(lost)).toBeInstanceOf(Error)
      await eventually(async () => expect(await effects()).toBe(1))
      const answer = await post(request, key, second.client)
      expect(answer.status).toBe(status)
      expect(given(await post(request, key))).toEqual(given(answer))
      expect(await effects()).toBe(1)
    })
  }

  test('a commit that the database did not confirm is answered as it was kept', async () => {
    const { request, effects } = await (cases['POST /orders'] ?? expect.unreachable)()
    const key = newKey()
    toOrders.cutAfter('commit')
    const answer = await post(request, key, unsure.client)
    expect(answer.status).toBe(202)
    expect(given(await post(request, key))).toEqual(given(answer))
    expect(await effects()).toBe(1)
  })
})

const placed = z.object({ id: z.uuid() })

const order = (token: string, sku: string, quantity = 1): Request => ({
  path: '/orders',
  token,
  body: { lines: [{ sku, quantity }], paymentToken: 'tok_visa' },
})

describe('the same key', () => {
  test('of another user is another key', async () => {
    const [ada, eve, { sku }] = [await shop.newBuyer(), await shop.newBuyer(), await shop.newProduct()]
    const key = newKey()
    const [one, other] = [await post(order(ada.token, sku), key), await post(order(eve.token, sku), key)]
    expect([one.status, other.status]).toEqual([202, 202])
    expect(placed.parse(other.body).id).not.toBe(placed.parse(one.body).id)
    expect(other.body).toMatchObject({ userId: eve.id })
  })

  test('on another route is another key, also for the same body', async () => {
    const [{ token }, { sku }] = [await shop.newBuyer(), await shop.newProduct()]
    const key = newKey()
    const request = order(token, sku)
    const [one, other] = [await post(request, key), await post({ ...request, path: '/checkouts' }, key)]
    expect([one.status, other.status]).toEqual([202, 202])
    expect(other.body).toHaveProperty('steps')
  })

  test('is of one body, whatever the order of its fields and the space between them', async () => {
    const [{ token }, { sku }] = [await shop.newBuyer(), await shop.newProduct()]
    const key = newKey()
    const first = await post(order(token, sku), key)
    const body = `{ "paymentToken":"tok_visa",\n "lines": [{"quantity": 1, "sku": "${sku}"}] }`
    expect(given(await post({ path: '/orders', token, body }, key))).toEqual(given(first))
  })

  test('is nothing to POST /sessions', async () => {
    const { email, password } = await client.signUp()
    const signIn = () =>
      client.send('POST', '/sessions', { body: { email, password }, headers: { 'idempotency-key': 'the same' } })
    const [one, other] = [await signIn(), await signIn()]
    expect([one.status, other.status]).toEqual([201, 201])
    expect(one.body).not.toEqual(other.body)
  })
})

describe('a refusal is given again although the request would now succeed:', () => {
  const expectKept = async (
    request: Request,
    refused: { status: number; code: string },
    cure: () => Promise<unknown>,
  ) => {
    const key = newKey()
    const first = await post(request, key)
    expect(refusal(first)).toEqual(refused)
    await cure()
    for (const through of [client, second.client]) {
      const again = await post(request, key, through)
      expect(given(again)).toEqual(given(first))
      expect(again.headers.get('consistency-token')).toBeNull()
    }
    expect((await post(request, newKey())).status).toBeLessThan(300)
  }
  const addStock = (sku: string, delta: number) =>
    post({ path: `/products/${sku}/stock`, token: operator, body: { delta } }, newKey())

  test('409 out-of-stock of an order', async () => {
    const [{ token }, { sku }] = [await shop.newBuyer(), await shop.newProduct(1)]
    await expectKept(order(token, sku, 2), { status: 409, code: 'out-of-stock' }, () => addStock(sku, 5))
  })

  test('409 out-of-stock of taking stock away', async () => {
    const { sku } = await shop.newProduct(1)
    const request = { path: `/products/${sku}/stock`, token: operator, body: { delta: -2 } }
    await expectKept(request, { status: 409, code: 'out-of-stock' }, () => addStock(sku, 5))
  })

  for (const path of ['/orders', '/checkouts']) {
    test(`422 unknown-sku of ${path}`, async () => {
      const [{ token }, sku] = [await shop.newBuyer(), `late-${Bun.randomUUIDv7()}`]
      await expectKept({ ...order(token, sku), path }, { status: 422, code: 'unknown-sku' }, async () => {
        const body = { name: 'Late', price: { amount: 100, currency: 'EUR' } }
        await client.send('PUT', `/products/${sku}`, { token: operator, body })
        await addStock(sku, 5)
      })
    })
  }

  test('when it was sent twenty times at the same moment, in the same words', async () => {
    const [{ token }, { sku }] = [await shop.newBuyer(), await shop.newProduct(1)]
    const key = newKey()
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(order(token, sku, 2), key)))
    for (const answer of answers) expect(refusal(answer)).toEqual({ status: 409, code: 'out-of-stock' })
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1)
  })
})

test('of twenty requests for the last piece under one key all are told that they have it', async () => {
  const [{ token }, { sku }] = [await shop.newBuyer(), await shop.newProduct(1)]
  const key = newKey()
  const answers = await Promise.all(Array.from({ length: 20 }, () => post(order(token, sku), key)))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
  expect(new Set(answers.map(({ body }) => placed.parse(body).id)).size).toBe(1)
})

describe('not kept is', () => {
  test('a 503 of a database that is away', async () => {
    const { request, effects } = await (cases['POST /orders'] ?? expect.unreachable)()
    const key = newKey()
    await awayOrders.cut()
    try {
      expect(refusal(await post(request, key, away.client))).toEqual({ status: 503, code: 'unavailable' })
    } finally {
      await awayOrders.mend()
    }
    const answer = await eventually(async () => {
      const answer = await post(request, key, away.client)
      expect(answer.status).toBe(202)
      return answer
    })
    expect(given(await post(request, key))).toEqual(given(answer))
    expect(await effects()).toBe(1)
  })

  test('a 503 of a transaction that lost its connection half way', async () => {
    const [{ token }, { sku }] = [await shop.newBuyer(), await shop.newProduct()]
    const key = newKey()
    await owner.transaction(async ({ run }) => {
      const [mine] = await run('select pg_backend_pid() as pid')
      await run('select 1 from orders.products where sku = $1 for update', [sku])
      const asked = post(order(token, sku), key)
      await eventually(async () => {
        const waiting = 'from pg_stat_activity where $1::int = any(pg_blocking_pids(pid))'
        const ended = await owner.run(`select pg_terminate_backend(pid) ${waiting}`, [Number(mine?.['pid'])])
        expect(ended).toHaveLength(1)
      })
      expect(refusal(await asked)).toEqual({ status: 503, code: 'unavailable' })
    })
    expect((await post(order(token, sku), key)).status).toBe(202)
  })

  test('a 400 of a body that does not fit', async () => {
    const [{ token }, { sku }] = [await shop.newBuyer(), await shop.newProduct()]
    const key = newKey()
    for (const quantity of [0, 1.5])
      expect(refusal(await post(order(token, sku, quantity), key))).toEqual({ status: 400, code: 'invalid-input' })
    expect((await post(order(token, sku), key)).status).toBe(202)
  })
})

test('a key that is malformed is a 400 and has no effect', async () => {
  const { request, effects } = await (cases['POST /orders'] ?? expect.unreachable)()
  for (const key of ['', 'a b', 'a\tb', 'schlüssel', 'x'.repeat(256)]) {
    const answer = await post(request, key)
    expect(answer.body).toMatchObject({ status: 400, code: 'invalid-input', errors: [{ path: 'Idempotency-Key' }] })
  }
  expect(await effects()).toBe(0)
  for (const key of ['!', '"8e03978e-40d5-43dd-bc93-6894a57f9324"', 'x'.repeat(255)])
    expect((await post(request, key)).status).toBe(202)
})
