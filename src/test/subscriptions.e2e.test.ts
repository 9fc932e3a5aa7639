import { afterAll, afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { connect } from 'node:net'
import { once } from 'node:events'
import { startTestApp } from './app.ts'
import { startProcess } from './process.ts'
import { openShop } from './shop.ts'
import { subscribe } from './subscription.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)

type Process = Awaited<ReturnType<typeof startProcess>>

let running: Process | undefined

afterEach(async () => {
  running?.child.kill('SIGKILL')
  await running?.child.exited
})

afterAll(async () => {
  await app.stop()
  await shop.close()
})

const start = async () => (running = await startProcess({ ...app.environment, NODE_ENV: 'production' }))

const buyer = await shop.newBuyer()
const { sku } = await shop.newProduct(100)
const { id } = await shop.buy(buyer, [{ sku, quantity: 1 }])
await shop.eventuallyOrder(id, { status: 'confirmed' })

const asked = { documentId: 'mobile/order-changed', variables: { id } }

describe('a process with subscriptions that is told to stop', () => {
  test('tells each to subscribe again, and does not wait for them', async () => {
    const process = await start()
    const streams = await Promise.all([1, 2, 3].map(() => subscribe(process.url, asked, { token: buyer.token })))
    for (const stream of streams) await stream.eventually({ id, status: 'confirmed' })
    process.child.kill('SIGTERM')
    for (const stream of streams) {
      expect(await stream.ended).toBe('complete')
      expect(stream.results.at(-1)?.errors).toEqual([
        { message: 'This process stops: subscribe again.', extensions: { code: 'unavailable' } },
      ])
    }
    const { code, errors } = await process.ended()
    expect([code, errors]).toEqual([0, []])
    expect(process.logged().map(({ msg }) => msg)).not.toContain('stopped at the deadline with work in hand')
  })

  test('does not wait for ever for a client that does not come to the end of its request', async () => {
    const process = await start()
    const { hostname, port } = new URL(process.url)
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined)
    const body = JSON.stringify(asked)
    socket.write(
      `POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer ${buyer.token}\r\n` +
        `Content-Length: ${body.length + 1}\r\n\r\n${body}`,
    )
    await once(socket, 'connect')
    process.child.kill('SIGTERM')
    expect((await process.ended()).code).toBe(0)
    expect(process.logged().at(-1)).toMatchObject({ msg: 'stopped' })
    socket.destroy()
  })
})

test('a client that goes in the middle of its stream harms nobody', async () => {
  const process = await start()
  const streams = await Promise.all(
    Array.from({ length: 10 }, () => subscribe(process.url, asked, { token: buyer.token })),
  )
  for (const stream of streams) await stream.eventually({ id })
  for (const stream of streams) stream.close()
  await Promise.all(streams.map(({ ended }) => ended))
  const other = await shop.newProduct(1)
  const { id: next } = await shop.buy(buyer, [{ sku: other.sku, quantity: 1 }])
  await shop.eventuallyOrder(next, { status: 'confirmed' })
  const stream = await subscribe(process.url, { ...asked, variables: { id: next } }, { token: buyer.token })
  await stream.eventually({ id: next })
  expect(process.child.exitCode).toBeNull()
  stream.close()
})
