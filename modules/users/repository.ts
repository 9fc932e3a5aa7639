import { eq, sql } from 'drizzle-orm'
import { DomainError } from '#platform/errors'
import type { Tx } from '#platform/postgres'
import { users } from './schema.ts'
import { type User, emailKey } from './user.ts'

type Row = typeof users.$inferSelect

/** Reads the user and locks its row until the transaction ends. @throws DomainError `user-not-found` */
export const lockUser = async (tx: Tx, id: string): Promise<User> => {
  const [row] = await tx.select().from(users).where(eq(users.id, id)).for('update')
  if (!row) throw userNotFound()
  return toUser(row)
}

export const findUsers = async (tx: Tx, ids: string[]): Promise<User[]> => {
  const rows = await tx
    .select()
    .from(users)
    .where(sql`${users.id} = any(${`{${ids.join(',')}}`}::uuid[])`)
  return rows.map(toUser)
}

export const insertUser = async (tx: Tx, user: User): Promise<void> => {
  await tx.insert(users).values(toRow(user))
}

export const updateUser = async (tx: Tx, user: User): Promise<void> => {
  const { id, createdAt: _, ...changes } = toRow(user)
  await tx.update(users).set(changes).where(eq(users.id, id))
}

export const userNotFound = () => new DomainError('user-not-found', 'User not found')

const toRow = (user: User): Row => ({ ...user, emailKey: user.email === null ? null : emailKey(user.email) })

export const toUser = ({ id, name, email, passwordHash, role, status, version, createdAt }: Row): User => {
  if (status === 'closed') return { id, role, status, version, createdAt, name: null, email: null, passwordHash: null }
  if (name === null || email === null || passwordHash === null)
    throw new Error(`The user ${id} is active and has no name, email or password.`)
  return { id, role, status, version, createdAt, name, email, passwordHash }
}
