import { type ConsumerDefinition, onBatch } from '#platform/messaging/consumer'
import type { Snapshots } from '#platform/snapshots'
import {
  checkoutChanged,
  checkoutRestated,
  orderCancelled,
  orderConfirmed,
  orderCreated,
  orderEvents,
  orderRestated,
  orderStarted,
  productChanged,
  productRestated,
} from '../events.ts'

const unique = (ids: string[]): string[] => [...new Set(ids)]

type WithLines = { lines?: { sku: string }[] }

/** Keeps the snapshots of orders, products and checkouts in step: events say which changed, the tables say how. */
export const projectOrders = (snapshots: Snapshots): ConsumerDefinition<'orders'> => ({
  topic: orderEvents,
  handlers: [
    onBatch([orderStarted, orderCreated, orderConfirmed, orderCancelled, orderRestated], async ({ tx }, messages) => {
      const skus = messages.flatMap(({ data }) => (data as WithLines).lines?.map(({ sku }) => sku) ?? [])
      // Who sees the order sees what it took from the stock.
      await snapshots.project(tx, 'product', unique(skus))
      await snapshots.project(tx, 'order', unique(messages.map(({ subject }) => subject)))
    }),
    onBatch([productChanged, productRestated], ({ tx }, messages) =>
      snapshots.project(tx, 'product', unique(messages.map(({ subject }) => subject))),
    ),
    onBatch([checkoutChanged, checkoutRestated], async ({ tx }, messages) => {
      const skus = messages.flatMap(({ data }) => (data as { skus?: string[] }).skus ?? [])
      await Promise.all([
        snapshots.project(tx, 'checkout', unique(messages.map(({ subject }) => subject))),
        snapshots.project(tx, 'product', unique(skus)),
      ])
    }),
  ],
})
