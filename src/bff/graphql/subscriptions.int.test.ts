import { afterAll, afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { startTestApp } from '../../test/app.ts'
import { consistency, refusal } from '../../test/client.ts'
import { openDetour } from '../../test/detour.ts'
import { eventually } from '../../test/eventually.ts'
import { openInstance } from '../../test/instance.ts'
import { openTestRedis } from '../../test/redis.ts'
import { openShop } from '../../test/shop.ts'
import { type Subscription, subscribe } from '../../test/subscription.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const redis = openTestRedis(app.environment)
const detour = await openDetour(app.environment['REDIS_URL'] ?? '')
/** Holds the streams, and handles nothing that changes: what they tell is done by the other process. */
const holder = await openInstance({ ...app.environment, REDIS_URL: detour.url })

const open = new Set<Subscription>()

const listen = async (field: string, id: string, token: string | undefined, fields = 'id status') => {
  const query = `subscription ($id: ID!) { ${field}(id: $id) { ${fields} } }`
  const stream = await subscribe(holder.url, { query, variables: { id } }, token === undefined ? {} : { token })
  open.add(stream)
  return stream
}

const channels = async (...ids: string[]): Promise<string[]> => {
  const all = (await redis.pubsub('CHANNELS', '*')) as string[]
  return all.filter((channel) => ids.some((id) => channel.endsWith(id)))
}

const nothingHeld = () => eventually(() => expect(holder.app.streams.count()).toBe(0))

afterEach(async () => {
  for (const stream of open) stream.close()
  open.clear()
  await nothingHeld()
})

afterAll(async () => {
  await holder.close()
  await detour.cut()
  await app.stop()
  await shop.close()
  redis.disconnect()
})

const { sku } = await shop.newProduct(1_000)
const lines = [{ sku, quantity: 1 }]
const ada = await shop.client.signUp('Ada')

const placed = async (paymentToken = 'tok_visa') => {
  const { id } = await shop.buy(ada, lines, paymentToken)
  await shop.eventuallyOrder(id, {})
  return id
}

const valuesOf = ({ results }: Subscription) => results.flatMap(({ data }) => Object.values(data ?? {}))

const versionsOf = (stream: Subscription): number[] =>
  valuesOf(stream).map((value) => z.object({ version: z.int() }).parse(value).version)

const codesOf = ({ results }: Subscription) =>
  results.flatMap(({ errors = [] }) => errors.map(({ extensions }) => extensions.code))

/** Expects that the stream ends by itself, with this error last. */
const expectEnded = async (stream: Subscription, code: string) => {
  expect(await stream.ended).toBe('complete')
  expect(codesOf(stream)).toEqual([code])
  expect(stream.results.at(-1)?.errors?.[0]?.extensions.code).toBe(code)
}

describe('what another process changes comes to whoever listens here:', () => {
  test('an order, with what it joins, from its present state on and each version once', async () => {
    const id = await placed()
    const stream = await listen('orderChanged', id, ada.token, 'id status version reason user { name } payment { id }')
    await stream.eventually({ id, status: 'confirmed', user: { name: 'Ada' } })
    await shop.eventuallyOrder(id, { status: 'confirmed' })
    await shop.cancel(id, ada.token)
    await stream.eventually({ id, status: 'cancelled', reason: 'requested', payment: { id: expect.any(String) } })
    const versions = versionsOf(stream)
    expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b))
    expect(versions.at(-1)).toBe(3)
  })

  test('a checkout, step by step until it is completed', async () => {
    const { id } = await shop.checkOut(ada, lines, 'tok_slow')
    await shop.eventuallyCheckout(id, {})
    const stream = await listen('checkoutChanged', id, ada.token, 'status steps { name status } order { id status }')
    await stream.eventually({ status: 'completed', order: { id: expect.any(String) } })
    expect(valuesOf(stream)[0]).toMatchObject({ status: 'running' })
    const texts = valuesOf(stream).map((value) => JSON.stringify(value))
    expect(texts).toEqual([...new Set(texts)])
  })

  test('a settlement, to an operator, until it is completed', async () => {
    const period = { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' }
    const started = await shop.client.send('POST', '/settlements', { token: shop.operator, body: period })
    const { id } = z.object({ id: z.uuid() }).parse(started.body)
    await shop.client.send('GET', `/settlements/${id}`, { token: shop.operator, headers: consistency(started) })
    const stream = await listen('settlementChanged', id, shop.operator, 'status tasks { total done }')
    await stream.eventually({ status: 'completed', tasks: { total: 24, done: 24 } })
    const done = valuesOf(stream).map(
      (value) => z.object({ tasks: z.object({ done: z.int() }) }).parse(value).tasks.done,
    )
    expect(done).toEqual(done.toSorted((a, b) => a - b))
  })

  test('also when Redis was away from here in between', async () => {
    const id = await placed('tok_slow')
    const stream = await listen('orderChanged', id, ada.token, 'status version')
    await stream.eventually({ status: 'pending' })
    await detour.cut()
    await shop.eventuallyOrder(id, { status: 'confirmed' })
    await detour.mend()
    await stream.eventually({ status: 'confirmed', version: 2 })
    expect(versionsOf(stream)).toEqual([1, 2])
  })
})

describe('a stream begins', () => {
  test('with what a command just did, for who sends its Consistency-Token', async () => {
    const body = { lines, paymentToken: 'tok_visa' }
    const answer = await shop.client.send('POST', '/orders', { token: ada.token, body })
    const { id } = z.object({ id: z.uuid() }).parse(answer.body)
    const query = `subscription { orderChanged(id: "${id}") { id } }`
    const stream = await subscribe(holder.url, { query }, { token: ada.token, headers: consistency(answer) })
    open.add(stream)
    await stream.eventually({ id })
    expect(codesOf(stream)).toEqual([])
  })

  test('by GET too, and without an Accept of its own by POST', async () => {
    const id = await placed()
    const query = `subscription { orderChanged(id: "${id}") { id } }`
    const search = new URLSearchParams({ query })
    const headers = { authorization: `Bearer ${ada.token}` }
    const asked = [
      fetch(`${holder.url}/graphql?${search}`, { headers: { ...headers, accept: 'text/event-stream' } }),
      fetch(`${holder.url}/graphql`, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify({ query }),
      }),
    ]
    for (const { headers, body } of await Promise.all(asked)) {
      expect(headers.get('content-type')).toBe('text/event-stream')
      expect(headers.get('correlation-id')).toBeString()
      const reader = body?.pipeThrough(new TextDecoderStream()).getReader()
      let text = ''
      while (!text.includes('\n\nevent: next\n')) text += (await reader?.read())?.value ?? ''
      await reader?.cancel()
    }
  })

  test('with an error and its end, when it is of something that is not there, or somebody else’s', async () => {
    const eve = await shop.newBuyer()
    const [order, unknown] = [await placed(), Bun.randomUUIDv7()]
    const refused: [field: string, id: string, token: string | undefined, code: string][] = [
      ['orderChanged', order, undefined, 'unauthenticated'],
      ['orderChanged', order, 'forged', 'unauthenticated'],
      ['orderChanged', order, eve.token, 'order-not-found'],
      ['orderChanged', unknown, ada.token, 'order-not-found'],
      ['orderChanged', 'x', ada.token, 'invalid-input'],
      ['checkoutChanged', unknown, ada.token, 'checkout-not-found'],
      ['checkoutChanged', unknown, undefined, 'unauthenticated'],
      ['settlementChanged', unknown, ada.token, 'forbidden'],
      ['settlementChanged', unknown, undefined, 'unauthenticated'],
      ['settlementChanged', unknown, shop.operator, 'settlement-not-found'],
    ]
    for (const [field, id, token, code] of refused) await expectEnded(await listen(field, id, token), code)
    const operator = await listen('orderChanged', order, shop.operator)
    await operator.eventually({ id: order })
  })

  test('not for a client that takes JSON alone, and nothing is held for it', async () => {
    const query = `subscription { orderChanged(id: "${await placed()}") { id } }`
    const sent = { token: ada.token, headers: { accept: 'application/json' }, body: { query } }
    expect(refusal(await holder.client.send('POST', '/graphql', sent))).toMatchObject({ status: 406 })
    await nothingHeld()
  })
})

describe('a stream ends', () => {
  test('at once when its session is signed out, and no other of the same user', async () => {
    const id = await placed()
    const token = await shop.client.signIn(ada.email, ada.password)
    const [left, stays] = [await listen('orderChanged', id, token), await listen('orderChanged', id, ada.token)]
    for (const stream of [left, stays]) await stream.eventually({ id })
    await shop.client.send('DELETE', '/sessions/current', { token })
    await expectEnded(left, 'unauthenticated')
    await shop.eventuallyOrder(id, { status: 'confirmed' })
    await stays.eventually({ id, status: 'confirmed' })
    expect(codesOf(stays)).toEqual([])
  })

  test('when its account is closed', async () => {
    const bob = await shop.client.signUp('Bob')
    const { id } = await shop.buy(bob, lines)
    await shop.eventuallyOrder(id, {})
    const stream = await listen('orderChanged', id, bob.token)
    await stream.eventually({ id })
    await shop.client.send('DELETE', `/users/${bob.id}`, { token: bob.token })
    await expectEnded(stream, 'unauthenticated')
  })

  test('when its token expires', async () => {
    const id = await placed()
    const stream = await listen('orderChanged', id, await shop.tokenOf(ada.id, 2))
    await stream.eventually({ id })
    await expectEnded(stream, 'unauthenticated')
  })

  test('when its client goes, and nothing of it is left', async () => {
    const ids = [await placed(), await placed()]
    const streams = await Promise.all(ids.map((id) => listen('orderChanged', id, ada.token)))
    for (const stream of streams) await stream.eventually({})
    expect(holder.app.streams.count()).toBe(2)
    // Each order, and the session of both: its user and its sign-out.
    expect(await channels(...ids)).toHaveLength(2)
    expect(await channels(ada.id)).toHaveLength(1)
    streams[0]?.close()
    await eventually(async () => expect(await channels(...ids)).toEqual([`orders:order:${ids[1]}`]))
    streams[1]?.close()
    await eventually(async () => expect(await channels(...ids, ada.id)).toEqual([]))
    expect(holder.app.streams.count()).toBe(0)
  })
})
