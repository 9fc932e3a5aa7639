import {
  type PaymentSnapshot,
  type SettlementSnapshot,
  paymentSnapshot,
  refundPayment,
  settlementSnapshot,
  startSettlement,
} from '#modules/payments'
import { requireOperator } from '../access.ts'
import { parseInput, settlementInput } from '../inputs.ts'
import { readPayment, versionsOfPayment } from '../payments.ts'
import { readSettlement, versionsOfSettlement } from '../settlements.ts'
import { parseId } from './arguments.ts'
import { builder } from './builder.ts'
import { Money } from './money.ts'
import { mutateOnce } from './once.ts'

const PaymentStatus = builder.enumType('PaymentStatus', {
  values: ['pending', 'captured', 'declined', 'refunded'] as const,
})

export const Payment = builder.objectRef<PaymentSnapshot>('Payment').implement({
  fields: (t) => ({
    id: t.exposeID('id'),
    orderId: t.exposeID('orderId'),
    userId: t.exposeID('userId'),
    status: t.field({ type: PaymentStatus, resolve: ({ status }) => status }),
    amount: t.expose('amount', { type: Money }),
    version: t.exposeInt('version'),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
  }),
})

const SettlementStatus = builder.enumType('SettlementStatus', { values: ['running', 'completed', 'failed'] as const })

const SettlementTasks = builder.objectRef<SettlementSnapshot['tasks']>('SettlementTasks').implement({
  fields: (t) => ({ total: t.exposeInt('total'), done: t.exposeInt('done'), failed: t.exposeInt('failed') }),
})

const SettlementTotal = builder.objectRef<SettlementSnapshot['totals'][number]>('SettlementTotal').implement({
  fields: (t) => ({
    currency: t.exposeString('currency'),
    captured: t.expose('captured', { type: 'MinorUnits' }),
    refunded: t.expose('refunded', { type: 'MinorUnits' }),
    net: t.expose('net', { type: 'MinorUnits' }),
    payments: t.exposeInt('payments'),
  }),
})

export const Settlement = builder.objectRef<SettlementSnapshot>('Settlement').implement({
  fields: (t) => ({
    id: t.exposeID('id'),
    status: t.field({ type: SettlementStatus, resolve: ({ status }) => status }),
    from: t.expose('from', { type: 'DateTime' }),
    to: t.expose('to', { type: 'DateTime' }),
    tasks: t.expose('tasks', { type: SettlementTasks }),
    totals: t.expose('totals', { type: [SettlementTotal] }),
  }),
})

builder.queryFields((t) => ({
  payment: t.field({
    type: Payment,
    nullable: true,
    args: { id: t.arg.id({ required: true }) },
    resolve: (_, { id }, { call }) => readPayment(call, parseId(id)),
  }),
  settlement: t.field({
    type: Settlement,
    nullable: true,
    args: { id: t.arg.id({ required: true }) },
    resolve: (_, { id }, { call }) => readSettlement(call, parseId(id)),
  }),
}))

builder.mutationFields((t) => ({
  refundPayment: t.field({
    type: Payment,
    args: { id: t.arg.id({ required: true }) },
    resolve: async (_, given, { call, options: { modules } }, info) => {
      const identity = await requireOperator(call)
      const id = parseId(given.id)
      return mutateOnce(
        { call, info, identity, input: { id } },
        {
          module: modules.payments,
          run: (keep) => refundPayment(modules.payments.context(call.trace, keep), { id }),
          result: paymentSnapshot,
          changed: versionsOfPayment,
        },
      )
    },
  }),
  startSettlement: t.field({
    type: Settlement,
    args: { from: t.arg({ type: 'DateTime', required: true }), to: t.arg({ type: 'DateTime', required: true }) },
    resolve: async (_, { from, to }, { call, options: { modules } }, info) => {
      const identity = await requireOperator(call)
      const period = parseInput(settlementInput, { from: from.toISOString(), to: to.toISOString() })
      return mutateOnce(
        { call, info, identity, input: period },
        {
          module: modules.payments,
          run: (keep) => startSettlement(modules.payments.context(call.trace, keep), period),
          result: settlementSnapshot,
          changed: versionsOfSettlement,
        },
      )
    },
  }),
}))
