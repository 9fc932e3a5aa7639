import type { ModuleDefinition } from '#platform/module'
import { projectUsers } from './consumers/project-users.ts'
import { userEvents } from './events.ts'
import { restateUsers } from './restate.ts'
import { signOutFlags, userSnapshots } from './snapshot.ts'

export type { Context } from './context.ts'
export { type UserSnapshot, userSnapshot } from './snapshot.ts'
export type { Role } from './user.ts'
export { closeUser } from './commands/close-user.ts'
export { ensureOperator } from './commands/ensure-operator.ts'
export { registerUser } from './commands/register-user.ts'
export { renameUser } from './commands/rename-user.ts'
export { type SignedIn, signIn } from './commands/sign-in.ts'
export { signOut } from './commands/sign-out.ts'
export { getUser } from './queries/get-user.ts'
export { isSessionAlive, sessionSnapshots } from './queries/is-session-alive.ts'

export const users: ModuleDefinition<'users'> = {
  name: 'users',
  topics: [userEvents],
  consumes: [userEvents],
  snapshots: [userSnapshots, signOutFlags],
  consumers: ({ snapshots }) => [projectUsers(snapshots)],
  restating: [restateUsers],
  // A token that has expired is refused anyway; the hour is for clocks that differ.
  prunings: [{ name: 'sign-outs', table: 'sign_outs', by: { time: 'expires_at' }, ageMs: 3_600_000 }],
}
