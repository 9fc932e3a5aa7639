import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { startTestApp } from '../test/app.ts'
import { consistency } from '../test/client.ts'
import { eventually } from '../test/eventually.ts'
import { openShop, patienceMs } from '../test/shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { client, operator } = shop

afterAll(async () => {
  await app.stop()
  await shop.close()
})

const ada = await client.signUp()
const { sku } = await shop.newProduct(100)
const lines = [{ sku, quantity: 1 }]
const bought = await shop.buy(ada, lines)
const checkedOut = await shop.checkOut(ada, lines)
const { paymentId } = await shop.eventuallyOrder(bought.id, { status: 'confirmed' })
await shop.eventuallyCheckout(checkedOut.id, { status: 'completed' })
await shop.eventuallyPayment(paymentId ?? '', { status: 'captured' })
const period = { from: '2020-01-01T00:00:00Z', to: '2020-01-02T00:00:00Z' }
const settled = await client.send('POST', '/settlements', { token: operator, body: period })
const settlement = settled.headers.get('location') ?? ''

await eventually(async () => {
  const { body } = await client.send('GET', settlement, { token: operator })
  expect(body).toMatchObject({ status: 'completed' })
}, patienceMs)

const read = (path: string, ifNoneMatch?: string, headers: Record<string, string> = {}) =>
  client.send('GET', path, {
    token: operator,
    headers: { ...headers, ...(ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch }) },
  })

describe('a snapshot', () => {
  const paths = [`/users/${ada.id}`, `/orders/${bought.id}`, `/checkouts/${checkedOut.id}`, `/payments/${paymentId}`]

  for (const path of [...paths, settlement]) {
    test(`is tagged by its version, and not sent to who has it: ${path.split('/')[1]}`, async () => {
      const first = await read(path)
      const tag = first.headers.get('etag') ?? ''
      expect([first.status, tag]).toEqual([200, expect.stringMatching(/^"\d+"$/)])
      const again = await read(path, tag)
      expect([again.status, again.body, again.headers.get('etag')]).toEqual([304, '', tag])
      for (const { headers } of [first, again]) {
        expect(headers.get('cache-control')).toBe('private, no-cache')
        expect(headers.get('vary')).toBe('Authorization')
      }
    })
  }

  test('has a tag that is its version', async () => {
    const answer = await read(`/orders/${bought.id}`)
    expect(answer.headers.get('etag')).toBe(`"${(answer.body as { version: number }).version}"`)
  })

  const path = `/users/${ada.id}`
  const holding: Record<string, (tag: string) => string> = {
    'any version': () => '*',
    'a weak tag of it': (tag) => `W/${tag}`,
    'several versions': (tag) => `"x", W/"y" ,${tag}`,
  }
  for (const [name, held] of Object.entries(holding)) {
    test(`is not sent to who has ${name}`, async () => {
      const { headers } = await read(path)
      expect((await read(path, held(headers.get('etag') ?? ''))).status).toBe(304)
    })
  }

  test('is sent to who has another version, or something that is none', async () => {
    const { body } = await read(path)
    for (const held of ['"0"', '', '1', '"1', 'W/"0", "2x"', '"\u00e9"'])
      expect(await read(path, held)).toMatchObject({ status: 200, body })
  })

  test('is sent once it has changed', async () => {
    const before = (await read(path)).headers.get('etag') ?? ''
    const renamed = await client.send('PATCH', path, { token: ada.token, body: { name: 'Ada King' } })
    const after = await read(path, before, consistency(renamed))
    expect([after.status, after.body]).toEqual([200, renamed.body])
    expect(after.headers.get('etag')).not.toBe(before)
  })

  test('is refused to whom it does not belong, whatever version they say they have', async () => {
    const { token } = await shop.newBuyer()
    for (const tag of ['*', '"1"', '"2"']) {
      const headers = { 'if-none-match': tag }
      for (const path of paths) expect((await client.send('GET', path, { token, headers })).status).toBe(404)
    }
  })
})

test('an answer that is no snapshot is not kept by anybody', async () => {
  for (const path of ['/orders', '/products', '/users/nobody', '/livez', '/openapi.json'])
    expect((await read(path)).headers.get('cache-control')).toBe('no-store')
})
