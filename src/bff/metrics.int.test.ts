import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { startTestApp } from '../test/app.ts'
import { eventually } from '../test/eventually.ts'
import { testBroker } from '../test/messaging.ts'
import { openShop, patienceMs } from '../test/shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const producer = testBroker({ KAFKA_BROKERS: app.environment['KAFKA_BROKERS'] ?? '' }).producer()

afterAll(async () => {
  await producer.close()
  await app.stop()
  await shop.close()
})

const scrape = async (): Promise<string[]> => {
  const { status, headers, body } = await shop.client.send('GET', '/metrics')
  expect([status, headers.get('content-type')]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8'])
  return String(body).split('\n')
}

/** The value of a sample; 0 when it is not told. */
const valueOf = (lines: string[], sample: string): number =>
  Number(lines.find((line) => line.startsWith(`${sample} `))?.slice(sample.length + 1) ?? 0)

const requestCount = (route: string, status = 202) =>
  `bulkhead_http_request_duration_seconds_count{method="POST",route="${route}",status="${status}"}`

test('a bought order is seen in what was asked, done, handled and relayed', async () => {
  const before = await scrape()
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  const order = await shop.buy(buyer, [{ sku, quantity: 1 }])
  await shop.eventuallyOrder(order.id, { status: 'confirmed' })
  const query = 'mutation ($input: PlaceOrderInput!) { placeOrder(input: $input) { id } }'
  const input = { lines: [{ sku, quantity: 100 }], paymentToken: 'tok_visa' }
  await shop.client.graphql(query, { input }, { token: buyer.token })
  await eventually(async () => {
    const after = await scrape()
    const grown = (sample: string) => valueOf(after, sample) - valueOf(before, sample)
    expect(grown(requestCount('/orders'))).toBe(1)
    expect(grown('bulkhead_command_duration_seconds_count{command="POST /orders",outcome="done"}')).toBe(1)
    expect(grown('bulkhead_command_duration_seconds_count{command="placeOrder",outcome="refused"}')).toBe(1)
    expect(grown('bulkhead_messages_handled_total{consumer="payments.order-events"}')).toBeGreaterThan(0)
    expect(grown('bulkhead_relay_lag_seconds_count{module="orders"}')).toBeGreaterThan(0)
    expect(valueOf(after, 'bulkhead_source_up{source="broker"}')).toBe(1)
    expect(valueOf(after, 'bulkhead_source_up{source="orders"}')).toBe(1)
    expect(valueOf(after, 'process_resident_memory_bytes')).toBeGreaterThan(1e6)
  }, patienceMs)
})

test('what is asked of Redis is seen, with its connections and whether the snapshots are complete', async () => {
  const buyer = await shop.newBuyer()
  const before = await scrape()
  for (let read = 0; read < 5; read += 1) await shop.client.send('GET', `/users/${buyer.id}`, { token: buyer.token })
  const after = await scrape()
  const trips = (operation: string) => {
    const sample = `bulkhead_redis_round_trip_duration_seconds_count{operation="${operation}"}`
    return valueOf(after, sample) - valueOf(before, sample)
  }
  expect(trips('get')).toBeGreaterThanOrEqual(5)
  expect(valueOf(after, 'bulkhead_redis_round_trip_duration_seconds_sum{operation="get"}')).toBeGreaterThan(0)
  expect(valueOf(after, 'bulkhead_redis_round_trip_duration_seconds_count{operation="snapshots"}')).toBeGreaterThan(0)
  await eventually(async () => {
    const now = await scrape()
    for (const sample of [
      'bulkhead_redis_connections{use="commands"}',
      'bulkhead_redis_connections{use="channels"}',
      'bulkhead_source_up{source="redis"}',
      ...['users', 'orders', 'payments'].map((module) => `bulkhead_snapshots_complete{module="${module}"}`),
    ])
      expect([sample, valueOf(now, sample)]).toEqual([sample, 1])
  }, patienceMs)
})

test('a message that comes again, and one that cannot be handled, are counted', async () => {
  const before = await scrape()
  const key = Bun.randomUUIDv7()
  const record = (value: string) => ({
    topic: 'payment-commands',
    key,
    value,
    headers: {
      ce_specversion: '1.0',
      ce_id: key,
      ce_type: 'payments.charge-payment.v1',
      ce_source: '/modules/orders',
      ce_subject: key,
      ce_time: new Date().toISOString(),
    },
  })
  await producer.send([record('{}'), record('{}')])
  const consumer = 'payments.payment-commands'
  await eventually(async () => {
    const after = await scrape()
    const grown = (sample: string) => valueOf(after, sample) - valueOf(before, sample)
    expect(grown(`bulkhead_inbox_duplicates_total{consumer="${consumer}"}`)).toBe(1)
    expect(grown(`bulkhead_messages_parked_total{consumer="${consumer}"}`)).toBe(1)
    expect(grown(`bulkhead_dead_letters{consumer="${consumer}",status="parked"}`)).toBe(1)
    expect(after.some((line) => line.startsWith('bulkhead_consumer_lag_messages{'))).toBe(true)
  }, patienceMs)
  const [letter] = await app.app.hosted.payments.deadLetters.list()
  await app.app.hosted.payments.deadLetters.skip(letter?.id ?? '', { by: 'the test' })
})

test('whatever is asked for, the routes that are told are those that there are', async () => {
  for (const path of ['/nowhere', `/${Bun.randomUUIDv7()}`, `/orders/${Bun.randomUUIDv7()}`, '/orders/a/b/c'])
    await shop.client.raw('GET', path)
  await shop.client.raw('PROPFIND', '/orders')
  const told = (await scrape()).filter((line) => line.startsWith('bulkhead_http_request_duration_seconds_count'))
  const routes = new Set(told.map((line) => /route="([^"]*)"/.exec(line)?.[1]))
  expect(routes).toContain('none')
  expect(routes).toContain('/orders/:id')
  for (const route of routes) expect(route).toMatch(/^(none|\/[a-z:/.-]*)$/i)
  expect(new Set(told.map((line) => /method="([^"]*)"/.exec(line)?.[1]))).toContain('other')
})

test('the text is what Prometheus reads: each sample under one type, no series twice', async () => {
  const lines = (await scrape()).filter((line) => line !== '')
  const types = lines.filter((line) => line.startsWith('# TYPE ')).map((line) => line.split(' ')[2] ?? '')
  expect(new Set(types).size).toBe(types.length)
  const samples = lines.filter((line) => !line.startsWith('#'))
  for (const sample of samples) {
    expect(sample).toMatch(/^[a-z_]+(\{([a-z]+="[^"\n]*",?)+\})? [\d.e+-]+$/)
    const name = /^[a-z_]+/.exec(sample)?.[0] ?? ''
    expect(types.some((type) => name === type || name.replace(/_(bucket|sum|count)$/, '') === type)).toBe(true)
  }
  const series = samples.map((sample) => sample.slice(0, sample.lastIndexOf(' ')))
  expect(new Set(series).size).toBe(series.length)
})
