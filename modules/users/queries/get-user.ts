import type { Context } from '../context.ts'
import { userNotFound } from '../repository.ts'
import { type UserSnapshot, decodeUser } from '../snapshot.ts'

/** Reads the snapshot, never the tables. @throws DomainError `user-not-found`; UnavailableError while snapshots are rebuilt */
export const getUser = async (context: Pick<Context, 'snapshots'>, id: string): Promise<UserSnapshot> => {
  const stored = await context.snapshots.read('user', id)
  if (stored === null) throw userNotFound()
  return decodeUser(stored)
}
