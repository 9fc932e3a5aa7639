import { readCheckout } from '../checkouts.ts'
import { readOrder } from '../orders.ts'
import { readSettlement } from '../settlements.ts'
import { parseId } from './arguments.ts'
import { builder } from './builder.ts'
import { Checkout } from './checkouts.ts'
import { Order } from './orders.ts'
import { Settlement } from './payments.ts'

const description =
  'The present state at once, then each change as it becomes visible; a reader that is slow is given the newest. Ends with an error when the session does.'

builder.subscriptionFields((t) => ({
  orderChanged: t.field({
    type: Order,
    description,
    args: { id: t.arg.id({ required: true }) },
    subscribe: (_, given, { call, options: { streams } }) => {
      const id = parseId(given.id)
      return streams.follow(call, { module: 'orders', thing: 'order', id }, () => readOrder(call, id))
    },
    resolve: (order) => order,
  }),
  checkoutChanged: t.field({
    type: Checkout,
    description,
    args: { id: t.arg.id({ required: true }) },
    subscribe: (_, given, { call, options: { streams } }) => {
      const id = parseId(given.id)
      return streams.follow(call, { module: 'orders', thing: 'checkout', id }, () => readCheckout(call, id))
    },
    resolve: (checkout) => checkout,
  }),
  settlementChanged: t.field({
    type: Settlement,
    description,
    args: { id: t.arg.id({ required: true }) },
    subscribe: (_, given, { call, options: { streams } }) => {
      const id = parseId(given.id)
      return streams.follow(call, { module: 'payments', thing: 'settlement', id }, () => readSettlement(call, id))
    },
    resolve: (settlement) => settlement,
  }),
}))
