import type { Context } from '../context.ts'
import { userClosed } from '../events.ts'
import { lockUser, updateUser } from '../repository.ts'
import { type UserSnapshot, toSnapshot } from '../snapshot.ts'
import { close } from '../user.ts'

/** Removes the name, the email and the password. @throws DomainError `user-not-found`, `account-closed` */
export const closeUser = (context: Context, input: { id: string }): Promise<UserSnapshot> =>
  context.transact(async (tx, emit) => {
    const user = close(await lockUser(tx, input.id))
    await updateUser(tx, user)
    emit(userClosed(user.id, user.version, { userId: user.id }))
    return toSnapshot(user)
  })
