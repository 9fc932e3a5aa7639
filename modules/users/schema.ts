import { integer, pgSchema, text, timestamp, uuid } from 'drizzle-orm/pg-core'

const schema = pgSchema('users')

export const users = schema.table('users', {
  id: uuid('id').primaryKey(),
  name: text('name'),
  email: text('email'),
  emailKey: text('email_key'),
  passwordHash: text('password_hash'),
  role: text('role', { enum: ['customer', 'operator'] }).notNull(),
  status: text('status', { enum: ['active', 'closed'] }).notNull(),
  version: integer('version').notNull(),
  createdAt: timestamp('created_at', { withTimezone: true }).notNull(),
})

export const signOuts = schema.table('sign_outs', {
  tokenId: uuid('token_id').primaryKey(),
  userId: uuid('user_id').notNull(),
  expiresAt: timestamp('expires_at', { withTimezone: true }).notNull(),
})
