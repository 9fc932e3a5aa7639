import { DomainError, violates } from '#platform/errors'
import type { Context } from '../context.ts'
import { userRegistered } from '../events.ts'
import { insertUser } from '../repository.ts'
import { type UserSnapshot, toSnapshot } from '../snapshot.ts'
import { type Role, register } from '../user.ts'

export type RegisterUser = { name: string; email: string; password: string; role?: Role }

/** @throws DomainError `email-taken` */
export const registerUser = async (context: Context, input: RegisterUser): Promise<UserSnapshot> => {
  const { name, email, password, role = 'customer' } = input
  const passwordHash = await context.passwords.hash(password)
  try {
    return await context.transact(async (tx, emit) => {
      const user = register({ id: context.newId(), name, email, passwordHash, role, at: context.now() })
      await insertUser(tx, user)
      emit(userRegistered(user.id, user.version, { userId: user.id, role, registeredAt: user.createdAt.toISOString() }))
      return toSnapshot(user)
    })
  } catch (error) {
    if (violates(error, 'users_email_key'))
      throw new DomainError('email-taken', 'An account with this email exists already.')
    throw error
  }
}
