import { commandTopic, eventTopic } from '#platform/messaging/message'

/** What happens to payments, keyed by payment id. */
export const paymentEvents = eventTopic('payments', 'payment-events')

/** What others ask of payments, keyed by order id. */
export const paymentCommands = commandTopic('payments', 'payment-commands')

/** The parts of a settlement, keyed by task id, which the workers of payments share. */
export const paymentTasks = commandTopic('payments', 'payment-tasks')
