import { z } from 'zod'
import { defineEvent, defineRestatement, eventTopic } from '#platform/messaging/message'

/** What happens to orders, checkouts and products, keyed by the id of each. */
export const orderEvents = eventTopic(
  'orders',
  'order-events',
  'the id of the order or checkout, or the SKU of the product',
)

const line = z.object({ sku: z.string(), quantity: z.int().positive() })

const placed = {
  orderId: z.uuid(),
  userId: z.uuid(),
  amount: z.int().nonnegative(),
  currency: z.string(),
  lines: z.array(line),
}

/** An order was placed and asks for its charge: the choreography begins. */
export const orderStarted = defineEvent(
  orderEvents,
  'orders.order-started.v1',
  z.object({ ...placed, paymentToken: z.string() }),
)

/** An order was created by a checkout, which asks for the charge itself. */
export const orderCreated = defineEvent(
  orderEvents,
  'orders.order-created.v1',
  z.object({ ...placed, checkoutId: z.uuid() }),
)

export const orderConfirmed = defineEvent(
  orderEvents,
  'orders.order-confirmed.v1',
  z.object({ orderId: z.uuid(), paymentId: z.uuid() }),
)

/** Whatever money was taken for the order must go back. */
export const orderCancelled = defineEvent(
  orderEvents,
  'orders.order-cancelled.v1',
  z.object({ orderId: z.uuid(), reason: z.string(), lines: z.array(line) }),
)

/** A product's name, price or stock was changed by an operator; its key is the SKU. */
export const productChanged = defineEvent(orderEvents, 'orders.product-changed.v1', z.object({ sku: z.string() }))

/** A checkout took a step; its key is the checkout's id. */
export const checkoutChanged = defineEvent(
  orderEvents,
  'orders.checkout-changed.v1',
  z.object({ checkoutId: z.uuid(), status: z.string(), skus: z.array(z.string()) }),
)

/** What an order is now. It asks for no charge; of one that is cancelled the money must have gone back, as of any. */
export const orderRestated = defineRestatement(
  orderEvents,
  'orders.order-restated.v1',
  z.object({
    ...placed,
    checkoutId: z.uuid().nullable(),
    status: z.enum(['pending', 'confirmed', 'cancelled']),
    reason: z.string().nullable(),
    paymentId: z.uuid().nullable(),
  }),
)

/** What a product is now; its stock moves with every order. */
export const productRestated = defineRestatement(
  orderEvents,
  'orders.product-restated.v1',
  z.object({ sku: z.string(), name: z.string(), amount: z.int(), currency: z.string(), stock: z.int().nonnegative() }),
)

/** What a checkout is now. */
export const checkoutRestated = defineRestatement(
  orderEvents,
  'orders.checkout-restated.v1',
  z.object({
    checkoutId: z.uuid(),
    userId: z.uuid(),
    status: z.enum(['running', 'completed', 'compensating', 'compensated', 'needs-operator']),
    orderId: z.uuid().nullable(),
    paymentId: z.uuid().nullable(),
  }),
)
