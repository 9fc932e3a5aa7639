import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { startTestApp } from './app.ts'
import { eventually } from './eventually.ts'
import { testBroker } from './messaging.ts'
import { openShop, patienceMs } from './shop.ts'

setDefaultTimeout(120_000)

// An order whose payment takes longer than this is cancelled by a timer.
const app = await startTestApp({ FLOW_DEADLINE_MS: '1000' })
const shop = await openShop(app.url, app.environment)
const broker = testBroker({ KAFKA_BROKERS: app.environment['KAFKA_BROKERS'] ?? '' })

type Headers = Record<string, string>
const read: { type: string; headers: Headers }[] = []

const subscriptions = ['order-events', 'payment-events', 'payment-commands', 'payment-tasks'].map((topic) =>
  broker.subscribe({
    group: `test-${Bun.randomUUIDv7()}`,
    topic,
    handle: async ({ records }) => {
      read.push(...records.map(({ headers }) => ({ type: headers['ce_type'] ?? '', headers })))
    },
  }),
)
await Promise.all(subscriptions.map((subscription) => subscription.start()))

afterAll(async () => {
  await Promise.all(subscriptions.map((subscription) => subscription.stop()))
  await app.stop()
  await shop.close()
})

const storyOf = (correlationId: string) => read.filter(({ headers }) => headers['ce_correlationid'] === correlationId)

const traceparent = /^00-([0-9a-f]{32})-[0-9a-f]{16}-0[01]$/

/** Asks for something and resolves to the name of its story, when `last` is among its messages. */
const follow = async (path: string, token: string, body: object, last: string) => {
  const answer = await shop.client.send('POST', path, { token, body })
  expect(answer.status).toBe(202)
  const correlationId = answer.headers.get('correlation-id') ?? ''
  return eventually(() => {
    expect(storyOf(correlationId).map(({ type }) => type)).toContain(last)
    return correlationId
  }, patienceMs)
}

const buy = async (path: string, paymentToken: string, last: string) => {
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  return follow(path, buyer.token, { lines: [{ sku, quantity: 1 }], paymentToken }, last)
}

const ways: [sender: string, type: string, begin: (last: string) => ReturnType<typeof follow>][] = [
  ['a call to the provider', 'payments.payment-captured.v1', (last) => buy('/orders', 'tok_visa', last)],
  ['a timer', 'orders.order-cancelled.v1', (last) => buy('/orders', 'tok_slow', last)],
  ['a saga', 'payments.charge-payment.v1', (last) => buy('/checkouts', 'tok_declined', last)],
  [
    'a fan-out',
    'payments.sum-slice.v1',
    (last) => follow('/settlements', shop.operator, { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' }, last),
  ],
]

for (const [sender, type, begin] of ways) {
  test(`what ${sender} sends names its story, its cause and its trace, like everything before it`, async () => {
    const correlationId = await begin(type)
    // A cause may be read later than what it caused, from another topic.
    await eventually(() => {
      const story = storyOf(correlationId)
      const ids = new Set(story.map(({ headers }) => headers['ce_id']))
      const causes = story.map(({ headers }) => headers['ce_causationid'] ?? '')
      expect(new Set(causes.filter((cause) => !ids.has(cause)))).toEqual(new Set([correlationId]))
      const traceIds = story.map(({ headers }) => traceparent.exec(headers['traceparent'] ?? '')?.[1])
      expect(new Set(traceIds)).toEqual(new Set([correlationId.replaceAll('-', '')]))
    }, patienceMs)
  })
}
