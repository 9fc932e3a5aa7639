import { eq } from 'drizzle-orm'
import { DomainError } from '#platform/errors'
import type { Context } from '../context.ts'
import { users } from '../schema.ts'
import { emailKey } from '../user.ts'
import { registerUser } from './register-user.ts'

/** Creates the operator, or gives an existing account with this email the operator's role and this password. */
export const ensureOperator = async (context: Context, input: { email: string; password: string }): Promise<void> => {
  const account = emailKey(input.email)
  const [row] = await context.read.select().from(users).where(eq(users.emailKey, account))
  if (!row) {
    const created = await registerUser(context, { name: 'Operator', ...input, role: 'operator' }).catch(taken)
    // Another process created it a moment earlier.
    return created ? undefined : ensureOperator(context, input)
  }
  const unchanged =
    row.role === 'operator' && (await context.passwords.verify(input.password, row.passwordHash ?? undefined))
  if (unchanged) return
  const passwordHash = await context.passwords.hash(input.password)
  await context.transact(async (tx) => {
    await tx.update(users).set({ role: 'operator', passwordHash }).where(eq(users.emailKey, account))
  })
}

const taken = (error: unknown): undefined => {
  if (error instanceof DomainError && error.code === 'email-taken') return undefined
  throw error
}
