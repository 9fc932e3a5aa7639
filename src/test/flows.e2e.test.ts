import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import type { Flow, FlowNode } from '../bff/flow-tree.ts'
import { startTestApp } from './app.ts'
import { refusal } from './client.ts'
import { eventually } from './eventually.ts'
import { testBroker } from './messaging.ts'
import { openShop, patienceMs } from './shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const operator = { token: shop.operator }
const producer = testBroker({ KAFKA_BROKERS: app.environment['KAFKA_BROKERS'] ?? '' }).producer()

afterAll(async () => {
  await producer.close()
  await app.stop()
  await shop.close()
})

const ask = (correlationId: string) =>
  shop.client.send('GET', `/ops/flows/${encodeURIComponent(correlationId)}`, operator)

const read = (correlationId: string, outcome: Flow['outcome'] = 'settled'): Promise<Flow> =>
  eventually(async () => {
    const { status, body } = await ask(correlationId)
    expect({ status, body }).toMatchObject({ status: 200, body: { correlationId, outcome } })
    return body as Flow
  }, patienceMs)

/** The tree as lines, each thing under what led to it; things of one moment in the order of their names. */
const outline = (nodes: FlowNode[], depth = 0): string[] =>
  nodes
    .map(({ kind, name, outcome, children }) => [
      `${'  '.repeat(depth)}${kind} ${name}: ${outcome}`,
      ...outline(children, depth + 1),
    ])
    .toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1))
    .flat()

const flatten = (nodes: FlowNode[]): FlowNode[] => nodes.flatMap((node) => [node, ...flatten(node.children)])

const buyOf = async (paymentToken: string, path = '/orders', correlationId = `story-${Bun.randomUUIDv7()}`) => {
  const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
  const body = { lines: [{ sku, quantity: 1 }], paymentToken }
  const headers = { 'correlation-id': correlationId }
  const answer = await shop.client.send('POST', path, { token: buyer.token, body, headers })
  expect(answer.status).toBe(202)
  expect(answer.headers.get('correlation-id')).toBe(correlationId)
  return { correlationId, id: z.object({ id: z.uuid() }).parse(answer.body).id, buyer }
}

describe('the story of a request', () => {
  test('of a bought order tells every message, who handled it, the timer and the call to the provider', async () => {
    const { correlationId, id } = await buyOf('tok_visa')
    await shop.eventuallyOrder(id, { status: 'confirmed' })
    const flow = await read(correlationId)
    expect(outline(flow.children)).toEqual([
      'request request: accepted',
      '  message orders.order-started.v1: sent',
      '    handling orders.order-events: applied',
      '    handling payments.order-events: applied',
      '      call charge: answered',
      '        message payments.payment-captured.v1: sent',
      '          handling orders.payment-events: applied',
      '            message orders.order-confirmed.v1: sent',
      '              handling orders.order-events: applied',
      '          handling payments.payment-events: applied',
      '      message payments.payment-requested.v1: sent',
      '        handling payments.payment-events: applied',
      '  timer order-deadline: cancelled',
    ])
    expect(flow.truncated).toBe(false)
    for (const { at } of flatten(flow.children)) expect(at).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    const modules = new Set(flatten(flow.children).map(({ module }) => module))
    expect(modules).toEqual(new Set([null, 'orders', 'payments']))
  })

  test('of a declined checkout tells the steps of the saga and what rolled them back', async () => {
    const { correlationId, id } = await buyOf('tok_declined', '/checkouts')
    await shop.eventuallyCheckout(id, { status: 'compensated' })
    const lines = outline((await read(correlationId)).children)
    const saga = lines.map((line) => line.trim()).filter((line) => /^(saga|step|call|timer)/.test(line))
    expect(saga.toSorted()).toEqual([
      'call charge: answered',
      'saga checkout: compensated',
      'saga checkout: running',
      'step charge-payment: failed',
      'step create-order: done',
      'step create-order: undone',
      'step reserve-stock: done',
      'step reserve-stock: undone',
      'step start: started',
      'timer saga:checkout: cancelled',
    ])
    const charge = lines.indexOf('  message payments.charge-payment.v1: sent')
    expect(lines[charge + 1]).toBe('    handling payments.payment-commands: applied')
    expect(lines).toContain('        message payments.payment-declined.v1: sent')
  })

  test('goes through GraphQL, and is named by us when the client does not', async () => {
    const [buyer, { sku }] = [await shop.newBuyer(), await shop.newProduct(5)]
    const query = 'mutation ($input: PlaceOrderInput!) { placeOrder(input: $input) { id } }'
    const input = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }
    const answer = await shop.client.graphql(query, { input }, { token: buyer.token })
    expect(answer.errors).toBeUndefined()
    const flow = await read(answer.headers.get('correlation-id') ?? '')
    expect(outline(flow.children)).toContain('            message orders.order-confirmed.v1: sent')
    expect(flow.children).toMatchObject([{ id: flow.correlationId }])
  })

  test('holds each request of those that a client gave one name', async () => {
    const { correlationId, id } = await buyOf('tok_visa')
    await shop.eventuallyOrder(id, { status: 'confirmed' })
    const headers = { 'correlation-id': correlationId }
    const cancelled = await shop.client.send('POST', `/orders/${id}/cancellation`, { ...operator, headers })
    expect(cancelled.status).toBe(202)
    const { children } = await eventually(async () => {
      const flow = await read(correlationId)
      expect(outline(flow.children)).toContain('      call refund: answered')
      return flow
    }, patienceMs)
    expect(children.map(({ children: [first] }) => first?.name).filter((name) => name?.startsWith('orders'))).toEqual([
      'orders.order-started.v1',
      'orders.order-cancelled.v1',
    ])
  })

  test('says where a message is parked, and why, until somebody has decided', async () => {
    const [correlationId, key] = [`story/${Bun.randomUUIDv7()}`, Bun.randomUUIDv7()]
    const headers = {
      ce_specversion: '1.0',
      ce_id: Bun.randomUUIDv7(),
      ce_type: 'orders.order-started.v1',
      ce_source: '/modules/orders',
      ce_subject: key,
      ce_time: new Date().toISOString(),
      ce_sequence: '1',
      ce_correlationid: correlationId,
      ce_causationid: Bun.randomUUIDv7(),
    }
    await producer.send([{ topic: 'order-events', key, value: '{"orderId":"none"}', headers }])
    const flow = await eventually(async () => {
      const found = await read(correlationId, 'held')
      expect(outline(found.children)).toEqual([
        'request request: accepted',
        '  message orders.order-started.v1: sent',
        '    handling orders.order-events: parked',
        '    handling payments.order-events: parked',
      ])
      return found
    }, patienceMs)
    const parked = flatten(flow.children).filter(({ outcome }) => outcome === 'parked')
    for (const { detail } of parked) expect(detail).toContain('does not fit orders.order-started.v1')
    const { body } = await shop.client.send('GET', '/ops/dead-letters', operator)
    const letters = z.object({ items: z.array(z.object({ id: z.uuid(), key: z.string() })) }).parse(body)
    for (const letter of letters.items.filter((item) => item.key === key)) {
      expect((await shop.client.send('POST', `/ops/dead-letters/${letter.id}/skip`, operator)).status).toBe(202)
    }
    expect(outline((await read(correlationId)).children)).toContain('    handling payments.order-events: skipped')
  })

  test('is told to operators only, and of an unknown name there is none', async () => {
    const { token } = await shop.newBuyer()
    expect(refusal(await ask('nobody-ever-sent-this'))).toEqual({ status: 404, code: 'not-found' })
    expect(refusal(await ask('\0'))).toEqual({ status: 404, code: 'not-found' })
    expect(refusal(await shop.client.send('GET', '/ops/flows/x', { token }))).toEqual({
      status: 403,
      code: 'forbidden',
    })
    expect(refusal(await shop.client.send('GET', '/ops/flows/x'))).toEqual({ status: 401, code: 'unauthenticated' })
  })
})

test('each module tells its own part, of its own tables', async () => {
  const { correlationId, id } = await buyOf('tok_visa')
  await shop.eventuallyOrder(id, { status: 'confirmed' })
  await read(correlationId)
  const path = `/ops/flows/${correlationId}/parts`
  const parts = z.object({ items: z.array(z.looseObject({ module: z.string() })) })
  const all = parts.parse((await shop.client.send('GET', path, operator)).body).items
  expect(all.map(({ module }) => module)).toEqual(['users', 'orders', 'payments'])
  const own = parts.parse((await shop.client.send('GET', `${path}?module=payments`, operator)).body).items
  expect(own).toEqual(all.filter(({ module }) => module === 'payments'))
  expect(own).toMatchObject([
    { timers: [{ kind: 'charge', isCall: true, outcome: 'fired', emitted: [expect.any(String)] }] },
  ])
})
