import { type ConsumerDefinition, onBatch } from '#platform/messaging/consumer'
import type { Snapshots } from '#platform/snapshots'
import {
  paymentCaptured,
  paymentDeclined,
  paymentEvents,
  paymentRefunded,
  paymentRequested,
  paymentRestated,
  settlementChanged,
  settlementRestated,
} from '../events.ts'

/** Keeps the snapshots of payments and settlements in step with the tables. */
export const projectPayments = (snapshots: Snapshots): ConsumerDefinition<'payments'> => ({
  topic: paymentEvents,
  handlers: [
    onBatch(
      [paymentRequested, paymentCaptured, paymentDeclined, paymentRefunded, paymentRestated],
      ({ tx }, messages) => snapshots.project(tx, 'payment', [...new Set(messages.map(({ subject }) => subject))]),
    ),
    onBatch([settlementChanged, settlementRestated], ({ tx }, messages) =>
      snapshots.project(tx, 'settlement', [...new Set(messages.map(({ subject }) => subject))]),
    ),
  ],
})
