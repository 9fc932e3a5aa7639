import { createMiddleware } from 'hono/factory'
import { DomainError } from '#platform/errors'
import type { Call, Env } from './call.ts'
import type { Identity } from './identity.ts'
import { bearer } from './openapi.ts'

/** Whether the identity may see and change what belongs to the user: the user itself, or an operator. */
export const mayActFor = (identity: Identity, userId: string): boolean =>
  identity.role === 'operator' || identity.userId === userId

/** @throws DomainError `forbidden` */
export const refuseCustomer = ({ role }: Identity): void => {
  if (role !== 'operator') throw new DomainError('forbidden', 'Only an operator may do this.')
}

/** @throws DomainError `forbidden` for an operator, who does not buy */
const refuseOperator = ({ role }: Identity): void => {
  if (role !== 'customer') throw new DomainError('forbidden', 'Only a customer may buy.')
}

/** The signed-in operator. @throws DomainError `unauthenticated`, `forbidden` */
export const requireOperator = async (call: Call): Promise<Identity> => {
  const identity = await call.signedIn()
  refuseCustomer(identity)
  return identity
}

/** The signed-in customer. @throws DomainError `unauthenticated`, `forbidden` */
export const requireCustomer = async (call: Call): Promise<Identity> => {
  const identity = await call.signedIn()
  refuseOperator(identity)
  return identity
}

type Admitted = { Variables: Env['Variables'] & { identity: Identity } }

/** Comes before the request is validated: who may not ask at all is told that first. */
const admit = (identify: (call: Call) => Promise<Identity>) =>
  createMiddleware<Admitted>(async (c, next) => {
    c.set('identity', await identify(c.get('call')))
    await next()
  })

/** What the description of a route says of who may use it; its handler finds them as `identity`. */
export const forSignedIn = { security: bearer, middleware: admit((call) => call.signedIn()) }
export const forCustomers = { security: bearer, middleware: admit(requireCustomer) }
export const forOperators = { security: bearer, middleware: admit(requireOperator) }
