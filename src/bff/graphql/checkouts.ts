import { type CheckoutSnapshot, checkoutSnapshot, startCheckout } from '#modules/orders'
import { requireCustomer } from '../access.ts'
import { readCheckout, versionsOfCheckout } from '../checkouts.ts'
import { parseInput, placeOrderInput } from '../inputs.ts'
import { findOrder } from '../orders.ts'
import { parseId } from './arguments.ts'
import { builder } from './builder.ts'
import { mutateOnce } from './once.ts'
import { Order, PlaceOrderInput } from './orders.ts'

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

const Checkout = builder.objectRef<CheckoutSnapshot>('Checkout').implement({
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
