import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { freePort } from '../../scripts/services/port.ts'
import { orderSnapshot } from '#modules/orders'
import { startTestApp } from '../test/app.ts'
import { type Answer, consistency, createClient, freshEmail, refusal } from '../test/client.ts'
import { openDetour } from '../test/detour.ts'
import { eventually } from '../test/eventually.ts'
import { openInstance } from '../test/instance.ts'
import { openTestRedis } from '../test/redis.ts'
import { openShop } from '../test/shop.ts'
import { readTopic } from '../test/topic.ts'

setDefaultTimeout(120_000)

const app = await startTestApp({}, 'users|orders|payments')
const shop = await openShop(app.url, app.environment)
const events = await readTopic(app.environment, 'order-events')
const clients = app.urls.map(createClient)
const [atUsers = shop.client, atOrders = shop.client, atPayments = shop.client] = clients
const { sku } = await shop.newProduct(1_000)
const cart = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }

afterAll(async () => {
  await events.stop()
  await app.stop()
  await shop.close()
})

const kept = ({ status, headers, body }: Answer) => ({
  status,
  body,
  ...Object.fromEntries(['location', 'consistency-token', 'content-type'].map((name) => [name, headers.get(name)])),
})

describe('whichever process is asked', () => {
  test('an Idempotency-Key has one effect and one answer, over HTTP', async () => {
    const { token } = await shop.newBuyer()
    const sent = { token, headers: { 'idempotency-key': Bun.randomUUIDv7() }, body: cart }
    const answers = await Promise.all([...clients, ...clients].map((client) => client.send('POST', '/orders', sent)))
    const [first] = answers
    if (!first) throw new Error('Nobody answered.')
    expect(first.status).toBe(202)
    expect(first.headers.get('location')).toBe(`/orders/${orderSnapshot.parse(first.body).id}`)
    expect(answers.map(kept)).toEqual(answers.map(() => kept(first)))
    for (const client of clients) {
      const page = await client.send('GET', '/orders', { token, headers: consistency(first) })
      expect(page.body).toMatchObject({ items: [{ id: orderSnapshot.parse(first.body).id }], nextCursor: null })
      const reused = await client.send('POST', '/orders', { ...sent, body: { ...cart, paymentToken: 'tok_flaky' } })
      expect(refusal(reused)).toEqual({ status: 422, code: 'idempotency-key-reused' })
    }
  })

  test('a read waits for the change that its Consistency-Token names, wherever that was made', async () => {
    const { id, token } = await atPayments.signUp()
    for (const [index, client] of clients.entries()) {
      const renamed = await client.send('PATCH', `/users/${id}`, { token, body: { name: `Name ${index}` } })
      for (const reader of clients) {
        const sent = { token, headers: consistency(renamed) }
        expect((await reader.send('GET', `/users/${id}`, sent)).body).toMatchObject({ name: `Name ${index}` })
        const { data } = await reader.graphql('{ me { name } }', {}, sent)
        expect(data).toEqual({ me: { name: `Name ${index}` } })
      }
    }
  })

  test('it waits for the end with who prefers that, and sends nothing that is known already', async () => {
    const { token } = await shop.newBuyer()
    for (const client of clients) {
      const ended = await client.send('POST', '/orders', { token, body: cart, headers: { prefer: 'wait=30' } })
      expect(ended).toMatchObject({ status: 200, body: { status: 'confirmed' } })
      expect(ended.headers.get('preference-applied')).toBe('wait=30')
      const path = ended.headers.get('location') ?? ''
      const read = await client.send('GET', path, { token, headers: consistency(ended) })
      const headers = { 'if-none-match': read.headers.get('etag') ?? '' }
      expect((await client.send('GET', path, { token, headers })).status).toBe(304)
      expect(read.headers.get('cache-control')).toBe('private, no-cache')
      expect(read.headers.get('x-content-type-options')).toBe('nosniff')
    }
  })

  test('its query goes through: pages follow each other by their cursors', async () => {
    const buyer = await shop.newBuyer()
    const ids: string[] = []
    for (let count = 0; count < 3; count += 1) ids.unshift((await shop.buy(buyer, cart.lines)).id)
    await Promise.all(ids.map((id) => shop.eventuallyOrder(id, { status: 'confirmed' })))
    const page = z.object({ items: z.array(z.object({ id: z.string() })), nextCursor: z.string().nullable() })
    for (const client of clients) {
      const found: string[] = []
      for (let cursor: string | null = ''; cursor !== null;) {
        const path: string = `/orders?limit=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`
        const { items, nextCursor } = page.parse((await client.send('GET', path, { token: buyer.token })).body)
        expect(items.length).toBe(cursor ? 1 : 2)
        found.push(...items.map(({ id }) => id))
        cursor = nextCursor
      }
      expect(found).toEqual(ids)
    }
  })

  test('the story keeps the name and the trace that the client gave', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    for (const client of clients) {
      const { token } = await shop.newBuyer()
      const story = `split-${Bun.randomUUIDv7()}`
      const headers = { 'correlation-id': story, traceparent }
      const answer = await client.send('POST', '/orders', { token, headers, body: cart })
      expect(answer.headers.get('correlation-id')).toBe(story)
      const [record] = await events.eventuallyOf(orderSnapshot.parse(answer.body).id, 1)
      expect(record?.headers).toMatchObject({ ce_correlationid: story, traceparent })
    }
  })

  test('a story without a name is given the same one in the answer and in the messages', async () => {
    const { token } = await shop.newBuyer()
    const answer = await atPayments.send('POST', '/orders', { token, body: cart })
    const [record] = await events.eventuallyOf(orderSnapshot.parse(answer.body).id, 1)
    expect(record?.headers['ce_correlationid']).toBe(answer.headers.get('correlation-id') ?? 'none')
  })

  test('a session that was ended is dead', async () => {
    for (const client of clients) {
      const { token } = await atPayments.signUp()
      expect((await client.send('DELETE', '/sessions/current', { token })).status).toBe(204)
      for (const other of clients) {
        const dead = { status: 401, code: 'unauthenticated' }
        expect(refusal(await other.send('GET', '/orders', { token }))).toEqual(dead)
        expect(refusal(await other.send('POST', '/checkouts', { token, body: cart }))).toEqual(dead)
      }
    }
  })

  test('a refusal is the same, with its headers', async () => {
    const { token } = await shop.newBuyer()
    const requests: [string, string, Parameters<typeof atUsers.send>[2]][] = [
      ['GET', '/orders', {}],
      ['GET', `/payments/${Bun.randomUUIDv7()}`, { token }],
      ['POST', '/settlements', { token, body: {} }],
      ['POST', '/orders', { token, body: { lines: [] } }],
      ['POST', '/orders', { token, body: '{' }],
      ['POST', '/orders', { token, body: cart, headers: { 'content-type': 'text/plain' } }],
      ['POST', '/orders', { token, body: cart, headers: { 'idempotency-key': 'with a space' } }],
      ['GET', '/users/1', { token }],
      ['PATCH', '/orders', { token, body: {} }],
      ['GET', '/orders', { token, headers: { 'consistency-token': 'bad' } }],
    ]
    for (const [method, path, sent] of requests) {
      const answers = await Promise.all(clients.map((client) => client.raw(method, path, sent)))
      const said = await Promise.all(
        answers.map(async (answer) => ({
          status: answer.status,
          body: await answer.text(),
          challenge: answer.headers.get('www-authenticate'),
        })),
      )
      expect(said[0]?.status).toBeGreaterThanOrEqual(400)
      expect(new Set(said.map((each) => JSON.stringify(each))).size).toBe(1)
    }
  })

  test('too many failed sign-ins are a 429 that says when to come back', async () => {
    const email = freshEmail()
    const attempt = (client = atOrders) => client.send('POST', '/sessions', { body: { email, password: 'wrong' } })
    for (let count = 0; count < 5; count += 1) await attempt(clients[count % clients.length])
    for (const client of clients) {
      const answer = await attempt(client)
      expect(refusal(answer)).toEqual({ status: 429, code: 'too-many-attempts' })
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(60)
    }
  })

  test('a body that is too large goes no further than where it came in', async () => {
    const { token } = await shop.newBuyer()
    const large = JSON.stringify({ ...cart, padding: 'x'.repeat(100_000) })
    const chunked = () => new Blob([large]).stream()
    for (const client of clients) {
      for (const body of [large, chunked()]) {
        const answer = await client.send('POST', '/orders', { token, body })
        expect(refusal(answer)).toEqual({ status: 413, code: 'too-large' })
      }
    }
  })

  test('a body of unknown length arrives whole', async () => {
    const { token } = await shop.newBuyer()
    for (const client of clients) {
      const body = new Blob([JSON.stringify(cart)]).stream()
      expect((await client.send('POST', '/orders', { token, body })).status).toBe(202)
    }
  })

  test('what Redis has lost is never taken for absent, and is answered again once its host has filled it', async () => {
    const [buyer, redis] = [await shop.newBuyer(), openTestRedis(app.environment)]
    const { id } = await shop.buy(buyer, cart.lines)
    await shop.eventuallyOrder(id, { status: 'confirmed' })
    const query = 'query ($id: ID!) { order(id: $id) { id status } }'
    await redis.flushall()
    redis.disconnect()
    for (const client of clients) {
      await eventually(async () => {
        const { data, errors } = await client.graphql(query, { id }, { token: buyer.token })
        if (data?.['order']) return expect(data).toEqual({ order: { id, status: 'confirmed' } })
        expect(errors?.[0]?.extensions.code).toBe('unavailable')
        throw new Error('It is not there yet.')
      }, 30_000)
    }
  })
})

describe('a process that hosts payments and cannot ask another', () => {
  const { USERS_URL: _, ORDERS_URL: __, PAYMENTS_URL: ___, ...environment } = app.environment
  const alone = { ...environment, MODULES: 'payments', FORWARD_TIMEOUT_MS: '1000' }

  const expectAway = async (client: typeof atUsers, code: string) => {
    const { token } = await shop.newBuyer()
    const answers = [
      await client.send('GET', '/orders', { token }),
      await client.send('POST', '/orders', { token, body: cart }),
    ]
    for (const answer of answers) {
      expect(refusal(answer)).toEqual({ status: 503, code })
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(JSON.stringify(answer.body)).toContain('orders')
      expect(JSON.stringify(answer.body)).not.toContain('127.0.0.1')
    }
    return answers
  }

  test('says so when no address is set, and goes on with its own', async () => {
    const { client, close } = await openInstance(alone)
    const [answer] = await expectAway(client, 'module-not-hosted')
    expect(answer?.body).toMatchObject({ detail: expect.stringContaining('ORDERS_URL') })
    const buyer = await shop.newBuyer()
    const { id } = await shop.buy(buyer, cart.lines)
    const { paymentId } = await shop.eventuallyOrder(id, { status: 'confirmed' })
    await shop.eventuallyPayment(paymentId ?? '', { status: 'captured' })
    expect((await client.send('GET', `/payments/${paymentId}`, { token: buyer.token })).status).toBe(200)
    await close()
  })

  test('says so when the address leads to one that does not host it either, or back to itself', async () => {
    const PORT = String(await freePort())
    const second = await openInstance({ ...alone, PORT, ORDERS_URL: `http://127.0.0.1:${PORT}` })
    const first = await openInstance({ ...alone, ORDERS_URL: second.url })
    await expectAway(first.client, 'module-not-hosted')
    await expectAway(second.client, 'module-not-hosted')
    await Promise.all([first, second].map(({ close }) => close()))
  })

  test('says where the request came from, after what was said before', async () => {
    const heard: (string | null)[] = []
    const fetch = async ({ headers }: Request) => {
      heard.push(headers.get('x-forwarded-for'))
      return Response.json({ data: { registerUser: null } })
    }
    const other = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch })
    const { client, close } = await openInstance({ ...alone, USERS_URL: other.url.href })
    const query = 'mutation { registerUser(input: { name: "a", email: "b", password: "c" }) { id } }'
    for (const headers of [{}, { 'x-forwarded-for': '192.0.2.1' }] as Record<string, string>[]) {
      await client.raw('POST', '/users', { body: {}, headers })
      await client.raw('POST', '/graphql', { body: { query }, headers })
    }
    const through = '192.0.2.1, 127.0.0.1'
    expect(heard).toEqual(['127.0.0.1', '127.0.0.1', through, through])
    await close()
    await other.stop(true)
  })

  test('sends nothing on that was sent on before', async () => {
    const { token } = await shop.newBuyer()
    const headers = { via: '1.1 proxy, 1.1 bulkhead' }
    const answer = await atPayments.send('POST', '/orders', { token, body: cart, headers })
    expect(refusal(answer)).toEqual({ status: 503, code: 'module-not-hosted' })
    const others = { via: '1.1 proxy' }
    expect((await atPayments.send('POST', '/orders', { token, body: cart, headers: others })).status).toBe(202)
  })

  test('says so when nobody listens there, and is answered as soon as somebody does', async () => {
    const toOrders = await openDetour(app.urls[1] ?? '')
    const { client, close } = await openInstance({ ...alone, ORDERS_URL: toOrders.url })
    const { token } = await shop.newBuyer()
    expect((await client.send('GET', '/orders', { token })).status).toBe(200)
    await toOrders.cut()
    await expectAway(client, 'module-not-answering')
    await toOrders.mend()
    expect((await client.send('POST', '/orders', { token, body: cart })).status).toBe(202)
    await close()
    await toOrders.cut()
  })

  test('waits no longer than FORWARD_TIMEOUT_MS for one that is silent', async () => {
    const silent = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Promise<Response>(() => undefined) })
    const { client, close } = await openInstance({ ...alone, ORDERS_URL: silent.url.href })
    await expectAway(client, 'module-not-answering')
    await close()
    await silent.stop(true)
  })
})
