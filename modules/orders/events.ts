import { eventTopic } from '#platform/messaging/message'

/** What happens to orders, keyed by order id. */
export const orderEvents = eventTopic('orders', 'order-events')
