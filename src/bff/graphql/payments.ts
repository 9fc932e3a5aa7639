import { type PaymentSnapshot, type SettlementSnapshot, refundPayment, startSettlement } from '#modules/payments'
import { requireOperator } from '../dead-letters.ts'
import { parseInput, settlementInput } from '../inputs.ts'
import { notePayment, readPayment } from '../payments.ts'
import { noteSettlement, readSettlement } from '../settlements.ts'
import { parseId } from './arguments.ts'
import { builder } from './builder.ts'
import { Money } from './money.ts'

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

const Settlement = builder.objectRef<SettlementSnapshot>('Settlement').implement({
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
    resolve: async (_, { id }, { call }) => {
      await requireOperator(call)
      const payment = await refundPayment(call.payments, { id: parseId(id) })
      notePayment(call, payment)
      return payment
    },
  }),
  startSettlement: t.field({
    type: Settlement,
    args: { from: t.arg({ type: 'DateTime', required: true }), to: t.arg({ type: 'DateTime', required: true }) },
    resolve: async (_, { from, to }, { call }) => {
      const period = parseInput(settlementInput, { from: from.toISOString(), to: to.toISOString() })
      await requireOperator(call)
      const settlement = await startSettlement(call.payments, period)
      noteSettlement(call, settlement)
      return settlement
    },
  }),
}))
