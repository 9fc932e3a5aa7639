import type { OrderSnapshot } from '#modules/orders'
import type { PaymentSnapshot } from '#modules/payments'
import type { UserSnapshot } from '#modules/users'
import type { Problem } from './problems.ts'

// What /openapi.json shows of each body: one customer, who buys two packets of tea.

const userId = '0198c0de-0000-7000-8000-000000000001'
const orderId = '0198c0de-0000-7000-8000-000000000002'
const paymentId = '0198c0de-0000-7000-8000-000000000003'
const createdAt = '2026-01-31T12:00:00.000Z'
const eur = (amount: number) => ({ amount, currency: 'EUR' })
const failure = { code: 'declined', message: 'The payment was declined.' }

export const userExample: UserSnapshot = {
  id: userId,
  name: 'Ada Lovelace',
  email: 'ada@example.com',
  status: 'active',
  version: 1,
  createdAt,
}

export const sessionExample = { token: 'eyJhbGciOiJIUzI1NiJ9.e30.c2ln', expiresAt: '2026-02-01T12:00:00.000Z', userId }

export const productExample = { sku: 'tea', name: 'Tea', price: eur(499), stock: 998 }

export const orderExample: OrderSnapshot = {
  id: orderId,
  userId,
  status: 'confirmed',
  reason: null,
  lines: [{ sku: 'tea', name: 'Tea', quantity: 2, price: eur(499) }],
  total: eur(998),
  paymentId,
  version: 2,
  createdAt,
}

export const paymentExample: PaymentSnapshot = {
  id: paymentId,
  orderId,
  userId,
  status: 'captured',
  amount: eur(998),
  version: 2,
  createdAt,
}

const step = <Name extends string, Status extends string>(name: Name, status: Status) => ({
  name,
  status,
  at: createdAt,
  error: null,
})

export const checkoutExample = {
  id: '0198c0de-0000-7000-8000-000000000004',
  userId,
  status: 'completed' as const,
  orderId,
  paymentId,
  error: null,
  steps: (['reserve-stock', 'create-order', 'charge-payment', 'confirm-order'] as const).map((name) =>
    step(name, 'done' as const),
  ),
}

export const settlementExample = {
  id: '0198c0de-0000-7000-8000-000000000005',
  status: 'completed' as const,
  from: '2026-01-01T00:00:00.000Z',
  to: '2026-02-01T00:00:00.000Z',
  tasks: { total: 31, done: 31, failed: 0 },
  totals: [{ currency: 'EUR', captured: 998, refunded: 0, net: 998, payments: 1 }],
}

export const deadLetterExample = {
  id: '0198c0de-0000-7000-8000-000000000006',
  module: 'payments',
  consumer: 'payments.order-events',
  topic: 'order-events',
  key: orderId,
  messageId: '0198c0de-0000-7000-8000-000000000007',
  type: 'orders.order-started.v1',
  sequence: 1,
  code: 'fault',
  error: 'The provider’s answer could not be read.',
  attempts: 5,
  status: 'parked' as const,
  parkedAt: createdAt,
  resolvedAt: null,
  resolvedBy: null,
}

export const sagaExample = {
  id: checkoutExample.id,
  module: 'orders',
  name: 'checkout',
  status: 'needs-operator' as const,
  error: failure,
  stuckAt: 'charge-payment',
  steps: [{ ...step('charge-payment', 'failed'), error: failure, tries: 3 }],
  version: 9,
  correlationId: 'story-9',
  createdAt,
  updatedAt: createdAt,
}

export const flowNodeExample = {
  kind: 'message' as const,
  id: '0198c0de-0000-7000-8000-000000000007',
  name: 'orders.order-started.v1',
  module: 'orders',
  at: createdAt,
  outcome: 'sent',
  detail: null,
  children: [],
}

export const flowExample = {
  correlationId: 'story-9',
  outcome: 'settled' as const,
  truncated: false,
  children: [
    {
      kind: 'request' as const,
      id: '0198c0de-0000-7000-8000-000000000008',
      name: 'request',
      module: null,
      at: null,
      outcome: 'accepted',
      detail: null,
      children: [flowNodeExample],
    },
  ],
}

export const flowPartExample = {
  module: 'orders',
  consumers: [{ name: 'orders.order-events', topic: 'order-events', types: ['orders.order-started.v1'] }],
  messages: [
    {
      id: flowNodeExample.id,
      type: flowNodeExample.name,
      topic: 'order-events',
      key: orderId,
      causationId: '0198c0de-0000-7000-8000-000000000008',
      at: createdAt,
      state: 'sent' as const,
    },
  ],
  handlings: [],
  timers: [],
  transitions: [],
  truncated: false,
}

export const problemExample: Problem = {
  type: 'urn:bulkhead:problem:invalid-input',
  title: 'Invalid input',
  status: 400,
  detail: 'The request does not fit: see errors.',
  code: 'invalid-input',
  errors: [{ path: 'name', message: 'must not be empty' }],
}
