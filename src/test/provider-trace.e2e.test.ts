import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { startTestApp, testEnvironment } from './app.ts'
import { overhear } from './overheard.ts'
import { openShop } from './shop.ts'

setDefaultTimeout(120_000)

const provider = overhear((await testEnvironment())['PAYMENT_PROVIDER_URL'] ?? '')
const app = await startTestApp({ PAYMENT_PROVIDER_URL: provider.url })
const shop = await openShop(app.url, app.environment)

afterAll(async () => {
  await app.stop()
  await shop.close()
  await provider.stop()
})

/** The trace ids that the provider was told of at a path. */
const traceIdsAt = (path: string) =>
  provider.heard.filter((each) => each.path === path).map(({ traceparent }) => traceparent?.split('-')[1])

const newTraceId = () => Bun.randomUUIDv7().replaceAll('-', '')

/** Buys, and waits for the end. */
const buy = async (path: '/orders' | '/checkouts', headers: Record<string, string>) => {
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  const body = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }
  const answer = await shop.client.send('POST', path, {
    token: buyer.token,
    body,
    headers: { ...headers, prefer: 'wait=30' },
  })
  expect(answer.status).toBe(200)
  return answer.body as { id: string; paymentId: string }
}

for (const path of ['/orders', '/checkouts'] as const) {
  test(`without tracing the provider is told the trace that POST ${path} came with`, async () => {
    const traceId = newTraceId()
    await buy(path, { traceparent: `00-${traceId}-b7ad6b7169203331-01` })
    expect(traceIdsAt('/charges')).toContain(traceId)
  })

  test(`without tracing the provider is told the trace of the story when POST ${path} came with none`, async () => {
    const correlationId = Bun.randomUUIDv7()
    await buy(path, { 'correlation-id': correlationId })
    expect(traceIdsAt('/charges')).toContain(correlationId.replaceAll('-', ''))
  })
}

test('a refund carries the trace of who asked for it', async () => {
  const { paymentId } = await buy('/orders', {})
  const traceId = newTraceId()
  const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-01` }
  await shop.client.send('POST', `/payments/${paymentId}/refund`, { token: shop.operator, headers })
  await shop.eventuallyPayment(paymentId, { status: 'refunded' })
  expect(traceIdsAt('/refunds')).toContain(traceId)
})
