import { type ConsumerDefinition, onBatch } from '#platform/messaging/consumer'
import type { Snapshots } from '#platform/snapshots'
import {
  paymentCaptured,
  paymentDeclined,
  paymentEvents,
  paymentRefunded,
  paymentRequested,
  settlementChanged,
} from '../events.ts'

/** Keeps the snapshots of payments and settlements in step with the tables. */
export const projectPayments = (snapshots: Snapshots): ConsumerDefinition<'payments'> => ({
  topic: paymentEvents,
  handlers: [
    onBatch([paymentRequested, paymentCaptured, paymentDeclined, paymentRefunded], ({ tx }, messages) =>
      snapshots.project(tx, 'payment', [...new Set(messages.map(({ subject }) => subject))]),
    ),
    onBatch([settlementChanged], ({ tx }, messages) =>
      snapshots.project(tx, 'settlement', [...new Set(messages.map(({ subject }) => subject))]),
    ),
  ],
})
