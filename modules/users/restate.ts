import type { Restating } from '#platform/republish'
import { userRestated } from './events.ts'
import { findUsers } from './repository.ts'

export const restateUsers: Restating<'users'> = {
  thing: 'users',
  rows: { table: 'users', id: 'id', sequence: 'version' },
  events: async (tx, ids) =>
    (await findUsers(tx, ids)).map(({ id, role, status, version, createdAt }) =>
      userRestated(id, version, { userId: id, role, status, registeredAt: createdAt.toISOString() }),
    ),
}
