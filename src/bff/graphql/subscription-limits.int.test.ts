import { connect } from 'node:net'
import { afterAll, afterEach, describe, expect, setDefaultTimeout, spyOn, test } from 'bun:test'
import { decodeJwt } from 'jose'
import type { OrderSnapshot } from '#modules/orders'
import { startTestApp } from '../../test/app.ts'
import { eventually } from '../../test/eventually.ts'
import { openInstance } from '../../test/instance.ts'
import { type Buyer, openShop } from '../../test/shop.ts'
import { type Subscription, subscribe } from '../../test/subscription.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const holder = await openInstance({
  ...app.environment,
  MAX_STREAMS: '4',
  MAX_STREAMS_PER_USER: '2',
  MAX_REQUESTS_IN_FLIGHT: '1',
})

const open = new Set<Subscription>()

afterEach(async () => {
  for (const stream of open) stream.close()
  open.clear()
  await eventually(() => expect(holder.app.streams.count()).toBe(0))
})

afterAll(async () => {
  await holder.close()
  await app.stop()
  await shop.close()
})

const { sku } = await shop.newProduct(1_000)

const placed = async (buyer: Buyer): Promise<OrderSnapshot> => {
  const { id } = await shop.buy(buyer, [{ sku, quantity: 1 }])
  return shop.eventuallyOrder(id, { status: 'confirmed' })
}

const query = 'subscription ($id: ID!) { orderChanged(id: $id) { id version reason } }'

const listen = async (id: string, { token }: Buyer) => {
  const stream = await subscribe(holder.url, { query, variables: { id } }, { token })
  open.add(stream)
  return stream
}

const listening = async (id: string, buyer: Buyer) => {
  const stream = await listen(id, buyer)
  await stream.eventually({ id })
  return stream
}

const refusalOf = async (stream: Subscription) => {
  expect(await stream.ended).toBe('complete')
  expect(stream.results).toHaveLength(1)
  return stream.results[0]?.errors?.[0]?.extensions
}

const [ada, eve, bob] = await Promise.all([shop.newBuyer(), shop.newBuyer(), shop.newBuyer()])
const [ofAda, ofEve, ofBob] = await Promise.all([placed(ada), placed(eve), placed(bob)])

describe('a process holds so many streams', () => {
  test('of one user, who may begin another when one has ended', async () => {
    const [first] = [await listening(ofAda.id, ada), await listening(ofAda.id, ada)]
    expect(await refusalOf(await listen(ofAda.id, ada))).toEqual({ code: 'too-many-streams' })
    await listening(ofEve.id, eve)
    first.close()
    await eventually(() => expect(holder.app.streams.count()).toBe(2))
    await listening(ofAda.id, ada)
  })

  test('of all users, and says when to come again', async () => {
    for (const [id, buyer] of [[ofAda.id, ada] as const, [ofEve.id, eve] as const])
      for (let stream = 0; stream < 2; stream += 1) await listening(id, buyer)
    expect(await refusalOf(await listen(ofBob.id, bob))).toEqual({ code: 'overloaded', retryAfterSeconds: 1 })
  })

  test('which do not count as requests in flight', async () => {
    for (const [id, buyer] of [[ofAda.id, ada] as const, [ofEve.id, eve] as const])
      for (let stream = 0; stream < 2; stream += 1) await listening(id, buyer)
    const answer = await holder.client.send('GET', `/orders/${ofAda.id}`, { token: ada.token })
    expect(answer.status).toBe(200)
  })
})

/** A client of HTTP that reads only when it is told to. */
const stalledClient = (body: string, token: string) => {
  const { hostname, port } = new URL(holder.url)
  const socket = connect(Number(port), hostname)
  socket.pause()
  socket.on('error', () => undefined)
  const head = `POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: text/event-stream`
  socket.write(`${head}\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
  let received = ''
  socket.on('data', (bytes) => (received += bytes.toString('latin1')))
  return {
    resume: () => socket.resume(),
    versions: () => [...received.matchAll(/"version":(\d+)/g)].map(([, version]) => Number(version)),
    close: () => socket.destroy(),
  }
}

test('for a client that does not read nothing piles up, and when it reads it gets to the newest', async () => {
  const looks = spyOn(holder.app.faces.users.snapshots, 'readAll')
  const looksFor = ({ token }: Buyer) => {
    const { jti } = decodeJwt(token)
    return looks.mock.calls.filter(([wanted]) => wanted.some(([, id]) => id === jti)).length
  }
  const operator = { id: '', token: shop.operator }
  const [stalled, reads] = [stalledClient(JSON.stringify({ query, variables: { id: ofAda.id } }), ada.token), operator]
  const reading = await listening(ofAda.id, reads)
  await eventually(() => expect(looksFor(ada)).toBe(1))

  const last = 50
  // So much that no buffer between the two takes all of it.
  const reason = 'x'.repeat(500_000)
  for (let version = ofAda.version + 1; version <= last; version += 1) {
    await app.app.hosted.orders.snapshots.write('order', [{ ...ofAda, reason, version } as OrderSnapshot])
    await reading.eventually({ version })
  }
  expect(looksFor(reads)).toBeGreaterThanOrEqual(last - 1)
  expect(looksFor(ada)).toBeLessThan(last / 2)

  stalled.resume()
  await eventually(() => expect(stalled.versions().at(-1)).toBe(last))
  expect(stalled.versions().length).toBeLessThan(last / 2)
  stalled.close()
})
