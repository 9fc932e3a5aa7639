import { z } from 'zod'
import { commandTopic, defineCommand, defineEvent, defineRestatement, eventTopic } from '#platform/messaging/message'

/** What happens to payments, keyed by payment id. */
export const paymentEvents = eventTopic('payments', 'payment-events', 'the id of the payment or settlement')

/** What others ask of payments, keyed by order id. */
export const paymentCommands = commandTopic('payments', 'payment-commands', 'the id of the order')

/** The parts of a settlement, keyed by task id, which the workers of payments share. */
export const paymentTasks = commandTopic('payments', 'payment-tasks', 'the id of the task')

const payment = { paymentId: z.uuid(), orderId: z.uuid() }

/** The intent to charge is on record; the provider has not been asked yet. */
export const paymentRequested = defineEvent(paymentEvents, 'payments.payment-requested.v1', z.object(payment))

export const paymentCaptured = defineEvent(
  paymentEvents,
  'payments.payment-captured.v1',
  z.object({ ...payment, amount: z.int().nonnegative(), currency: z.string() }),
)

export const paymentDeclined = defineEvent(
  paymentEvents,
  'payments.payment-declined.v1',
  z.object({ ...payment, reason: z.string() }),
)

export const paymentRefunded = defineEvent(
  paymentEvents,
  'payments.payment-refunded.v1',
  z.object({ ...payment, amount: z.int().nonnegative(), currency: z.string() }),
)

/** Asks for one charge for an order; repeats are absorbed. Answered by `payment-captured` or `payment-declined`. */
export const chargePayment = defineCommand(
  paymentCommands,
  'payments.charge-payment.v1',
  z.object({
    orderId: z.uuid(),
    userId: z.uuid(),
    amount: z.int().nonnegative(),
    currency: z.string(),
    paymentToken: z.string(),
  }),
)

/**
 * Asks that no money stays taken for an order, whether it was charged, is being charged or never will be. Answered by
 * `payment-refunded`, or by `payment-declined` when there was nothing to give back.
 */
export const refundPayment = defineCommand(
  paymentCommands,
  'payments.refund-payment.v1',
  z.object({ orderId: z.uuid(), userId: z.uuid(), amount: z.int().nonnegative(), currency: z.string() }),
)

/** A settlement began, or one of its parts ended; its key is the settlement's id. */
export const settlementChanged = defineEvent(
  paymentEvents,
  'payments.settlement-changed.v1',
  z.object({ settlementId: z.uuid(), status: z.enum(['running', 'completed', 'failed']) }),
)

/** One part of a settlement: sums up the payments of a part of the period. */
export const sumSlice = defineCommand(
  paymentTasks,
  'payments.sum-slice.v1',
  z.object({ settlementId: z.uuid(), slice: z.int().nonnegative(), from: z.iso.datetime(), to: z.iso.datetime() }),
)

/** What a payment is now. */
export const paymentRestated = defineRestatement(
  paymentEvents,
  'payments.payment-restated.v1',
  z.object({
    ...payment,
    userId: z.uuid(),
    status: z.enum(['pending', 'captured', 'declined', 'refunded']),
    amount: z.int().nonnegative(),
    currency: z.string(),
    capturedAt: z.iso.datetime().nullable(),
    refundedAt: z.iso.datetime().nullable(),
  }),
)

/** What a settlement is now. */
export const settlementRestated = defineRestatement(
  paymentEvents,
  'payments.settlement-restated.v1',
  z.object({
    settlementId: z.uuid(),
    status: z.enum(['running', 'completed', 'failed']),
    from: z.iso.datetime(),
    to: z.iso.datetime(),
    totals: z.array(
      z.object({ currency: z.string(), captured: z.int(), refunded: z.int(), net: z.int(), payments: z.int() }),
    ),
  }),
)
