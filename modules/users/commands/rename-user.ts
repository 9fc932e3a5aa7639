import type { Context } from '../context.ts'
import { userRenamed } from '../events.ts'
import { lockUser, updateUser } from '../repository.ts'
import { type UserSnapshot, toSnapshot } from '../snapshot.ts'
import { rename } from '../user.ts'

/** @throws DomainError `user-not-found`, `account-closed` */
export const renameUser = (context: Context, input: { id: string; name: string }): Promise<UserSnapshot> =>
  context.transact(async (tx, emit) => {
    const user = rename(await lockUser(tx, input.id), input.name)
    await updateUser(tx, user)
    emit(userRenamed(user.id, user.version, { userId: user.id }))
    return toSnapshot(user)
  })
