import { orderEvents } from '#events/orders'
import type { Traffic } from '#platform/messaging/rights'
import type { ModuleDefinition } from '#platform/module'
import type { Outgoing } from '#platform/outgoing'
import { charge } from './calls/charge.ts'
import { refund } from './calls/refund.ts'
import { onOrderEvents } from './consumers/on-order-events.ts'
import { onPaymentCommands } from './consumers/on-payment-commands.ts'
import { projectPayments } from './consumers/project-payments.ts'
import { sumSlices } from './consumers/sum-slices.ts'
import { paymentCommands, paymentEvents, paymentTasks } from './events.ts'
import { createProvider } from './provider.ts'
import { restating } from './restate.ts'
import { settlementSnapshots } from './settlement-snapshot.ts'
import { paymentSnapshots } from './snapshot.ts'
import { onSettlementDeadline } from './timers/settlement-deadline.ts'

export type { Context } from './context.ts'
export { type PaymentSnapshot, paymentSnapshot } from './snapshot.ts'
export { type SettlementSnapshot, settlementSnapshot } from './settlement-snapshot.ts'
export { refundPayment } from './commands/refund-payment.ts'
export { startSettlement } from './commands/start-settlement.ts'
export { getPayment } from './queries/get-payment.ts'
export { getSettlement } from './queries/get-settlement.ts'

/** What payments does on the broker. */
export const paymentsTraffic: Traffic<'payments'> = {
  name: 'payments',
  topics: [paymentEvents, paymentCommands, paymentTasks],
  consumes: [orderEvents, paymentCommands, paymentEvents, paymentTasks],
  sends: [paymentTasks],
}

export const paymentsSnapshots = [paymentSnapshots, settlementSnapshots]

type Outside = { provider: Outgoing; newId: () => string; now: () => Date }

export const payments = ({ provider: outgoing, newId, now }: Outside): ModuleDefinition<'payments'> => {
  const provider = createProvider(outgoing)
  return {
    ...paymentsTraffic,
    snapshots: paymentsSnapshots,
    consumers: ({ snapshots }) => [
      onOrderEvents({ newId, now }),
      onPaymentCommands({ newId, now }),
      projectPayments(snapshots),
      sumSlices,
    ],
    calls: [charge(provider), refund(provider)],
    timers: [onSettlementDeadline],
    restating,
  }
}
