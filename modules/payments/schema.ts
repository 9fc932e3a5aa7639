import { bigint, boolean, integer, pgSchema, text, timestamp, uuid } from 'drizzle-orm/pg-core'

const schema = pgSchema('payments')

export const payments = schema.table('payments', {
  id: uuid('id').primaryKey(),
  orderId: uuid('order_id').notNull(),
  userId: uuid('user_id').notNull(),
  status: text('status', { enum: ['pending', 'captured', 'declined', 'refunded'] }).notNull(),
  amount: bigint('amount', { mode: 'number' }).notNull(),
  currency: text('currency').notNull(),
  token: text('token').notNull(),
  chargeId: text('charge_id'),
  refundAsked: boolean('refund_asked').notNull(),
  version: integer('version').notNull(),
  createdAt: timestamp('created_at', { withTimezone: true }).notNull(),
  capturedAt: timestamp('captured_at', { withTimezone: true }),
  refundedAt: timestamp('refunded_at', { withTimezone: true }),
})
