import { expect, test } from 'bun:test'
import { counted, pay } from '../../test/messaging.ts'
import type { Emit, Message } from './message.ts'
import { relayShards, shardOf } from './outbox.ts'

const emitted = (): { messages: Message[]; asOrders: Emit<'orders'>; asUsers: Emit<'users'> } => {
  const messages: Message[] = []
  const emit = (message: Message) => void messages.push(message)
  return { messages, asOrders: emit, asUsers: emit }
}

test('a module emits its own events and the commands of others, and nothing else compiles', () => {
  const { messages, asOrders, asUsers } = emitted()
  asOrders(counted('a', 1, { count: 1 }))
  asOrders(pay('a', 'key', { amount: 1 }))
  asUsers(pay('a', 'key', { amount: 1 }))
  // @ts-expect-error an event of orders is not for users to publish
  asUsers(counted('a', 1, { count: 1 }))
  // @ts-expect-error data that does not fit the schema
  asOrders(counted('a', 1, { count: 'one' }))
  // @ts-expect-error an event without its sequence
  asOrders(counted('a', { count: 1 }))
  expect(messages.slice(0, 3).map(({ type }) => type)).toEqual([
    'orders.counted.v1',
    'payments.pay.v1',
    'payments.pay.v1',
  ])
})

test('an event is keyed by its aggregate and numbered, a command has the key it is given and no number', () => {
  expect(counted('order-1', 3, { count: 1 })).toMatchObject({ subject: 'order-1', key: 'order-1', sequence: 3 })
  expect(pay('payment-1', 'order-1', { amount: 1 })).toMatchObject({ subject: 'payment-1', key: 'order-1' })
  expect(pay('payment-1', 'order-1', { amount: 1 }).sequence).toBeUndefined()
})

test('the shard of a key never changes from one release to the next', () => {
  expect(['', 'a', 'order-1', '0198f2f0-0000-7000-8000-000000000000'].map(shardOf)).toEqual([0, 3, 7, 2])
  const shards = new Set(Array.from({ length: 1_000 }, (_, index) => shardOf(`key-${index}`)))
  expect([...shards].toSorted((a, b) => a - b)).toEqual(Array.from({ length: relayShards }, (_, index) => index))
})
