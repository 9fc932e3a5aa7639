import { type CheckoutSnapshot, checkoutSnapshot, listOpenCheckouts, startCheckout } from '#modules/orders'
import { requireCustomer } from '../access.ts'
import { readCheckout, versionsOfCheckout } from '../checkouts.ts'
import { parseInput, placeOrderInput } from '../inputs.ts'
import { findOrder } from '../orders.ts'
import { parseFirst, parseId } from './arguments.ts'
import { builder } from './builder.ts'
import { mutateOnce } from './once.ts'
import { Order, PlaceOrderInput } from './orders.ts'
import { shared } from './shared.ts'
import { User } from './users.ts'

const CheckoutStepStatus = builder.enumType('CheckoutStepStatus', {
  values: ['pending', 'running', 'done', 'failed', 'compensated'] as const,
})

const CheckoutError = builder.objectRef<NonNullable<CheckoutSnapshot['error']>>('CheckoutError').implement({
  fields: (t) => ({ code: t.exposeString('code'), message: t.exposeString('message') }),
})

const CheckoutStep = builder.objectRef<CheckoutSnapshot['steps'][number]>('CheckoutStep').implement({
  fields: (t) => ({
    name: t.exposeString('name'),
    status: t.field({ type: CheckoutStepStatus, resolve: ({ status }) => status }),
    at: t.expose('at', { type: 'DateTime', nullable: true }),
    error: t.expose('error', { type: CheckoutError, nullable: true }),
  }),
})

export const Checkout = builder.objectRef<CheckoutSnapshot>('Checkout').implement({
  fields: (t) => ({
    id: t.exposeID('id'),
    userId: t.exposeID('userId'),
    status: t.exposeString('status', {
      description: 'running, completed, compensating, compensated or needs-operator',
    }),
    orderId: t.exposeID('orderId', { nullable: true }),
    paymentId: t.exposeID('paymentId', { nullable: true }),
    error: t.expose('error', { type: CheckoutError, nullable: true }),
    steps: t.expose('steps', { type: [CheckoutStep] }),
    order: t.field({
      type: Order,
      nullable: true,
      resolve: ({ orderId }, _, { call }) => (orderId === null ? null : findOrder(call, orderId)),
    }),
  }),
})

builder.queryField('checkout', (t) =>
  t.field({
    type: Checkout,
    nullable: true,
    args: { id: t.arg.id({ required: true }) },
    resolve: (_, { id }, { call }) => readCheckout(call, parseId(id)),
  }),
)

builder.objectField(User, 'openCheckouts', (t) =>
  t.field({
    type: [Checkout],
    description: 'The newest checkouts that have not ended; one that waits for an operator has not',
    args: { first: t.arg.int() },
    resolve: ({ id }, { first }, { call }) => {
      const wanted = { userId: id, limit: parseFirst(first) }
      return shared(call, `checkouts ${JSON.stringify(wanted)}`, () => listOpenCheckouts(call.orders, wanted))
    },
  }),
)

builder.mutationField('checkout', (t) =>
  t.field({
    type: Checkout,
    args: { input: t.arg({ type: PlaceOrderInput, required: true }) },
    resolve: async (_, { input }, { call, options: { modules } }, info) => {
      const identity = await requireCustomer(call)
      const wanted = { userId: identity.userId, ...parseInput(placeOrderInput, input) }
      return mutateOnce(
        { call, info, identity, input: wanted },
        {
          module: modules.orders,
          run: (keep) => startCheckout(modules.orders.context(call.trace, keep), wanted),
          result: checkoutSnapshot,
          changed: versionsOfCheckout,
        },
      )
    },
  }),
)
