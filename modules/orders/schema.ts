import { bigint, integer, json, pgSchema, text, timestamp, uuid } from 'drizzle-orm/pg-core'
import type { Line } from './order.ts'

const schema = pgSchema('orders')

export const products = schema.table('products', {
  sku: text('sku').primaryKey(),
  name: text('name').notNull(),
  priceAmount: bigint('price_amount', { mode: 'number' }).notNull(),
  currency: text('currency').notNull(),
  stock: bigint('stock', { mode: 'number' }).notNull(),
  added: bigint('added', { mode: 'number' }).notNull(),
  version: integer('version').notNull(),
  sequence: integer('sequence').notNull(),
})

export const orders = schema.table('orders', {
  id: uuid('id').primaryKey(),
  userId: uuid('user_id').notNull(),
  checkoutId: uuid('checkout_id'),
  status: text('status', { enum: ['pending', 'confirmed', 'cancelled'] }).notNull(),
  reason: text('reason', {
    enum: ['requested', 'declined', 'refunded', 'user-closed', 'timed-out', 'checkout-failed'],
  }),
  lines: json('lines').$type<Line[]>().notNull(),
  totalAmount: bigint('total_amount', { mode: 'number' }).notNull(),
  currency: text('currency').notNull(),
  paymentId: uuid('payment_id'),
  version: integer('version').notNull(),
  createdAt: timestamp('created_at', { withTimezone: true }).notNull(),
  confirmedAt: timestamp('confirmed_at', { withTimezone: true }),
})

export const knownUsers = schema.table('known_users', {
  id: uuid('id').primaryKey(),
  status: text('status', { enum: ['active', 'closed'] }).notNull(),
  version: integer('version').notNull(),
})
