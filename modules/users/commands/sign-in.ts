import { eq } from 'drizzle-orm'
import { DomainError, TooManyAttemptsError } from '#platform/errors'
import type { Context } from '../context.ts'
import { toUser } from '../repository.ts'
import { users } from '../schema.ts'
import { type Role, emailKey } from '../user.ts'

export type SignedIn = { userId: string; role: Role; version: number }

/**
 * Checks the password; an unknown email takes as long as a known one.
 * @throws DomainError `bad-credentials`; TooManyAttemptsError after repeated failures for this account
 */
export const signIn = async (context: Context, input: { email: string; password: string }): Promise<SignedIn> => {
  const account = emailKey(input.email)
  await refuseLocked(context, account)
  const [row] = await context.read.select().from(users).where(eq(users.emailKey, account))
  const user = row && toUser(row)
  const matches = await context.passwords.verify(input.password, user?.passwordHash ?? undefined)
  await refuseLocked(context, account)
  if (!matches || !user) {
    await context.signInFailures.failed(account)
    throw new DomainError('bad-credentials', 'The email or the password is wrong.')
  }
  await context.signInFailures.forget(account)
  return { userId: user.id, role: user.role, version: user.version }
}

const refuseLocked = async (context: Context, account: string): Promise<void> => {
  const seconds = await context.signInFailures.lockedSeconds(account)
  if (seconds > 0) throw new TooManyAttemptsError('There were too many failed sign-ins for this account.', seconds)
}
