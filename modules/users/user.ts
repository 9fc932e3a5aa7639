import { DomainError } from '#platform/errors'

export type Role = 'customer' | 'operator'

type Registered = { id: string; role: Role; version: number; createdAt: Date }

export type ActiveUser = Registered & { status: 'active'; name: string; email: string; passwordHash: string }

/** An account that was closed keeps its id and loses everything personal. */
export type ClosedUser = Registered & { status: 'closed'; name: null; email: null; passwordHash: null }

export type User = ActiveUser | ClosedUser

export type Registration = { id: string; name: string; email: string; passwordHash: string; role: Role; at: Date }

/** Two emails are the same account when these are equal: case and the way a letter is composed do not count. */
export const emailKey = (email: string): string => email.normalize('NFKC').toLowerCase()

export const register = ({ id, name, email, passwordHash, role, at }: Registration): ActiveUser => ({
  id,
  name,
  email,
  passwordHash,
  role,
  status: 'active',
  version: 1,
  createdAt: at,
})

/** @throws DomainError `account-closed` */
export const rename = (user: User, name: string): ActiveUser => ({ ...active(user), name, version: user.version + 1 })

/** @throws DomainError `account-closed` */
export const close = (user: User): ClosedUser => {
  const { id, role, createdAt, version } = active(user)
  return { id, role, createdAt, version: version + 1, status: 'closed', name: null, email: null, passwordHash: null }
}

const active = (user: User): ActiveUser => {
  if (user.status === 'closed') throw new DomainError('account-closed', 'The account is closed.')
  return user
}
