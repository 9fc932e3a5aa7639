import {
  type OrderPage,
  type OrderSnapshot,
  type ProductSnapshot,
  cancelOrder,
  listOrders,
  listProducts,
  orderSnapshot,
  placeOrder,
} from '#modules/orders'
import { requireCustomer } from '../access.ts'
import { encodeCursor, parseInput, placeOrderInput } from '../inputs.ts'
import { cancellationBy, findOrder, readOrder, readOrders, versionsOfOrder } from '../orders.ts'
import { findPayment } from '../payments.ts'
import { findUser } from '../users.ts'
import { builder } from './builder.ts'
import { parseId, parsePage } from './arguments.ts'
import { Money } from './money.ts'
import { mutateOnce } from './once.ts'
import { shared } from './shared.ts'
import { Payment } from './payments.ts'
import { User } from './users.ts'

const OrderStatus = builder.enumType('OrderStatus', { values: ['pending', 'confirmed', 'cancelled'] as const })

const Product = builder.objectRef<ProductSnapshot>('Product').implement({
  fields: (t) => ({
    sku: t.exposeString('sku'),
    name: t.exposeString('name'),
    price: t.expose('price', { type: Money }),
    stock: t.expose('stock', { type: 'MinorUnits' }),
  }),
})

const OrderLine = builder.objectRef<OrderSnapshot['lines'][number]>('OrderLine').implement({
  fields: (t) => ({
    sku: t.exposeString('sku'),
    name: t.exposeString('name'),
    quantity: t.exposeInt('quantity'),
    price: t.expose('price', { type: Money }),
  }),
})

export const Order = builder.objectRef<OrderSnapshot>('Order').implement({
  fields: (t) => ({
    id: t.exposeID('id'),
    userId: t.exposeID('userId'),
    status: t.field({ type: OrderStatus, resolve: ({ status }) => status }),
    reason: t.exposeString('reason', { nullable: true }),
    lines: t.expose('lines', { type: [OrderLine] }),
    total: t.expose('total', { type: Money }),
    paymentId: t.exposeID('paymentId', { nullable: true }),
    version: t.exposeInt('version'),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    user: t.field({ type: User, nullable: true, resolve: ({ userId }, _, { call }) => findUser(call, userId) }),
    payment: t.field({
      type: Payment,
      nullable: true,
      resolve: ({ paymentId }, _, { call }) => (paymentId === null ? null : findPayment(call, paymentId)),
    }),
  }),
})

const OrderEdge = builder.objectRef<OrderSnapshot>('OrderEdge').implement({
  fields: (t) => ({
    cursor: t.string({ resolve: ({ id }) => encodeCursor(id) }),
    node: t.field({ type: Order, resolve: (order) => order }),
  }),
})

const PageInfo = builder.objectRef<OrderPage>('PageInfo').implement({
  fields: (t) => ({
    hasNextPage: t.boolean({ resolve: ({ next }) => next !== undefined }),
    hasPreviousPage: t.boolean({ resolve: () => false }),
    startCursor: t.string({ nullable: true, resolve: ({ items: [first] }) => (first ? encodeCursor(first.id) : null) }),
    endCursor: t.string({
      nullable: true,
      resolve: ({ items }) => {
        const last = items.at(-1)
        return last ? encodeCursor(last.id) : null
      },
    }),
  }),
})

const OrderConnection = builder.objectRef<OrderPage>('OrderConnection').implement({
  fields: (t) => ({
    nodes: t.field({ type: [Order], resolve: ({ items }) => items }),
    edges: t.field({ type: [OrderEdge], resolve: ({ items }) => items }),
    pageInfo: t.field({ type: PageInfo, resolve: (page) => page }),
  }),
})

const LineInput = builder.inputType('OrderLineInput', {
  fields: (t) => ({ sku: t.string({ required: true }), quantity: t.int({ required: true }) }),
})

export const PlaceOrderInput = builder.inputType('PlaceOrderInput', {
  fields: (t) => ({
    lines: t.field({ type: [LineInput], required: true }),
    paymentToken: t.string({ required: true }),
  }),
})

builder.queryFields((t) => ({
  products: t.field({ type: [Product], resolve: (_, _arguments, { call }) => listProducts(call.orders) }),
  order: t.field({
    type: Order,
    nullable: true,
    args: { id: t.arg.id({ required: true }) },
    resolve: (_, { id }, { call }) => readOrder(call, parseId(id)),
  }),
  orders: t.field({
    type: OrderConnection,
    description: 'Your orders, newest first; an operator sees all',
    args: { first: t.arg.int(), after: t.arg.string() },
    resolve: (_, page, { call }) => readOrders(call, parsePage(page)),
  }),
}))

builder.objectField(User, 'orders', (t) =>
  t.field({
    type: OrderConnection,
    args: { first: t.arg.int(), after: t.arg.string() },
    resolve: ({ id }, given, { call }) => {
      const page = { userId: id, ...parsePage(given) }
      return shared(call, `orders ${JSON.stringify(page)}`, () => listOrders(call.orders, page))
    },
  }),
)

builder.objectField(Payment, 'order', (t) =>
  t.field({ type: Order, nullable: true, resolve: ({ orderId }, _, { call }) => findOrder(call, orderId) }),
)

builder.mutationFields((t) => ({
  placeOrder: t.field({
    type: Order,
    args: { input: t.arg({ type: PlaceOrderInput, required: true }) },
    resolve: async (_, { input }, { call, options: { modules } }, info) => {
      const identity = await requireCustomer(call)
      const wanted = { userId: identity.userId, ...parseInput(placeOrderInput, input) }
      return mutateOnce(
        { call, info, identity, input: wanted },
        {
          module: modules.orders,
          run: (keep) => placeOrder(modules.orders.context(call.trace, keep), wanted),
          result: orderSnapshot,
          changed: versionsOfOrder,
        },
      )
    },
  }),
  cancelOrder: t.field({
    type: Order,
    args: { id: t.arg.id({ required: true }) },
    resolve: async (_, given, { call, options: { modules } }, info) => {
      const id = parseId(given.id)
      const identity = await call.signedIn()
      const input = cancellationBy(identity, id)
      return mutateOnce(
        { call, info, identity, input },
        {
          module: modules.orders,
          run: (keep) => cancelOrder(modules.orders.context(call.trace, keep), input),
          result: orderSnapshot,
          changed: versionsOfOrder,
        },
      )
    },
  }),
}))
