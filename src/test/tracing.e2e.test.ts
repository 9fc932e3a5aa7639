import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { testEnvironment } from './app.ts'
import { eventually } from './eventually.ts'
import { type ReceivedSpan, otlpReceiver } from './otlp-receiver.ts'
import { overhear } from './overheard.ts'
import { startProcess } from './process.ts'
import { openShop, patienceMs } from './shop.ts'

setDefaultTimeout(120_000)

const receiver = otlpReceiver()
const environment = await testEnvironment()
const provider = overhear(environment['PAYMENT_PROVIDER_URL'] ?? '')
const process = await startProcess({
  ...environment,
  PAYMENT_PROVIDER_URL: provider.url,
  OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
})
const shop = await openShop(process.url, environment)

afterAll(async () => {
  process.child.kill('SIGTERM')
  await process.child.exited
  await shop.close()
  await receiver.stop()
  await provider.stop()
})

const buy = async (path: '/orders' | '/checkouts', headers: Record<string, string> = {}) => {
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  const correlationId = `traced-${Bun.randomUUIDv7()}`
  const body = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }
  const sent = { token: buyer.token, body, headers: { ...headers, 'correlation-id': correlationId } }
  expect((await shop.client.send('POST', path, sent)).status).toBe(202)
  return correlationId
}

const spansOf = (correlationId: string) =>
  receiver.spans.filter(({ attributes }) => attributes['bulkhead.correlation_id'] === correlationId)

/** The names of a span and of those above it, the first one first. */
const pathOf = (spans: ReceivedSpan[], span: ReceivedSpan): string => {
  const parent = spans.find(({ id }) => id === span.parentId)
  return parent ? `${pathOf(spans, parent)} > ${span.name}` : span.name
}

/** The paths of all spans of a story, when the last one has come. */
const pathsOf = (correlationId: string, last: string): Promise<string[]> =>
  eventually(() => {
    const spans = spansOf(correlationId)
    const paths = spans.map((span) => pathOf(spans, span))
    expect(paths.filter((path) => path.endsWith(last))).not.toEqual([])
    return paths
  }, patienceMs)

const bought = 'POST /orders > orders transaction'
const asked = `${bought} > handle orders.order-started.v1`
const charged = `${asked} > call charge`
const paid = `${charged} > handle payments.payment-captured.v1`

test('one trace leads from a request through outbox, relay, consumers and the provider to the end of its order', async () => {
  const correlationId = await buy('/orders')
  const paths = await pathsOf(correlationId, `${paid} > handle orders.order-confirmed.v1`)
  expect(new Set(spansOf(correlationId).map(({ traceId }) => traceId)).size).toBe(1)
  expect(new Set(paths)).toEqual(
    new Set([
      'POST /orders',
      bought,
      `${bought} > publish orders.order-started.v1`,
      asked,
      `${asked} > publish payments.payment-requested.v1`,
      `${asked} > handle payments.payment-requested.v1`,
      charged,
      `${charged} > publish payments.payment-captured.v1`,
      paid,
      `${paid} > publish orders.order-confirmed.v1`,
      `${paid} > handle orders.order-confirmed.v1`,
    ]),
  )
})

test('the provider is told the span of its call', async () => {
  const correlationId = await buy('/orders')
  await pathsOf(correlationId, charged)
  const call = spansOf(correlationId).find(({ name }) => name === 'call charge')
  const told = { path: '/charges', traceparent: `00-${call?.traceId}-${call?.id}-01` }
  expect(provider.heard).toContainEqual(told)
})

test('the steps of a saga are spans of the trace, below the one of the client who traces too', async () => {
  const [traceId, parent] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331']
  const correlationId = await buy('/checkouts', { traceparent: `00-${traceId}-${parent}-01` })
  const answered = 'handle payments.charge-payment.v1 > call charge > handle payments.payment-captured.v1'
  const paths = await pathsOf(correlationId, 'saga checkout: run confirm-order')
  for (const step of ['run reserve-stock', 'run create-order', 'send charge-payment'])
    expect(paths).toContain(`POST /checkouts > saga checkout: ${step}`)
  expect(paths).toContain(`POST /checkouts > orders transaction > ${answered} > saga checkout: run confirm-order`)
  const spans = spansOf(correlationId)
  expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([traceId]))
  expect(spans.find(({ name }) => name === 'POST /checkouts')?.parentId).toBe(parent)
})

test('what a client does not sample is not traced', async () => {
  const correlationId = await buy('/orders', { traceparent: '00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00' })
  await eventually(async () => {
    const { body } = await shop.client.send('GET', `/ops/flows/${correlationId}`, { token: shop.operator })
    expect(body).toMatchObject({ outcome: 'settled' })
  }, patienceMs)
  await pathsOf(await buy('/orders'), 'handle orders.order-confirmed.v1')
  expect(spansOf(correlationId)).toEqual([])
})

test('no span tells who somebody is, or what pays', async () => {
  const account = await shop.client.signUp('Grace Hopper')
  await eventually(() => expect(receiver.spans.map(({ name }) => name)).toContain('POST /users'), patienceMs)
  const told = JSON.stringify(receiver.spans)
  for (const secret of ['Grace', account.email.toLowerCase(), account.email, account.password, 'tok_', account.token])
    expect(told).not.toContain(secret)
})
