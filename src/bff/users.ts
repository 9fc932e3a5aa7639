import { createRoute, z } from '@hono/zod-openapi'
import { type UserSnapshot, closeUser, getUser, registerUser, renameUser, userSnapshot } from '#modules/users'
import { DomainError } from '#platform/errors'
import { answerSnapshot } from './conditional.ts'
import { userExample } from './examples.ts'
import { orNull } from './problems.ts'
import { registerUserInput, renameUserInput } from './inputs.ts'
import {
  bearer,
  cacheableById,
  changed,
  conditionally,
  createRouter,
  created,
  idParameter,
  jsonBody,
  problems,
  readId,
  withConsistency,
} from './openapi.ts'
import { forSignedIn, mayActFor } from './access.ts'
import type { BffOptions } from './bff.ts'
import type { Call } from './call.ts'
import type { Identity } from './identity.ts'

// Made here, since only schemas that are made after the import of zod-openapi can be named for the document.
const user = z.object(userSnapshot.shape).openapi('User', { example: userExample })

const notFound = () => new DomainError('user-not-found', 'User not found')

const tags = ['users']

const registering = createRoute({
  method: 'post',
  path: '/users',
  tags,
  summary: 'Register',
  request: jsonBody(registerUserInput),
  responses: { 201: created('Registered; Location is the new user', user), ...problems(400, 408, 409, 413, 415, 429) },
})

const read = createRoute({
  method: 'get',
  path: '/users/{id}',
  tags,
  summary: 'Read a user',
  security: bearer,
  ...cacheableById,
  responses: {
    ...conditionally('The user', user),
    ...problems(400, 401, 404),
  },
})

const renaming = createRoute({
  method: 'patch',
  path: '/users/{id}',
  tags,
  summary: 'Rename a user',
  ...forSignedIn,
  request: { params: idParameter, ...jsonBody(renameUserInput) },
  responses: { 200: changed('Renamed', user), ...problems(400, 401, 404, 408, 409, 413, 415) },
})

const closing = createRoute({
  method: 'delete',
  path: '/users/{id}',
  tags,
  summary: 'Close an account; its name and email are removed',
  ...forSignedIn,
  request: { params: idParameter },
  responses: { 202: changed('Closed; other modules follow', user), ...problems(400, 401, 404, 409) },
})

/** Records the version that a command made, for the Consistency-Token. */
export const noteUser = (call: Call, { id, version }: Pick<UserSnapshot, 'id' | 'version'>): void =>
  void call.changed.push({ module: 'users', thing: 'user', id, version })

/** @throws DomainError `email-taken`, `too-many-attempts` */
export const register = async (
  { limits }: Pick<BffOptions, 'limits'>,
  call: Call,
  input: z.infer<typeof registerUserInput>,
): Promise<UserSnapshot> => {
  await limits.registration(call.address())
  const registered = await registerUser(call.users, input)
  noteUser(call, registered)
  return registered
}

/** @throws DomainError `user-not-found` when the identity may neither see nor change the user */
export const refuseForeignUser = (identity: Identity, id: string): void => {
  if (!mayActFor(identity, id)) throw notFound()
}

/** Reads a user as somebody who may see it. @throws DomainError `unauthenticated`, `user-not-found` */
export const readUser = (call: Call, id: string): Promise<UserSnapshot> =>
  call.query(async (identity) => {
    refuseForeignUser(identity, id)
    return getUser(call.users, id)
  })

/** The user, or null while its snapshot is not there yet, for a join from something that the caller may see. */
export const findUser = (call: Call, id: string): Promise<UserSnapshot | null> => orNull(getUser(call.users, id))

export const userRoutes = (options: BffOptions) =>
  createRouter()
    .openapi(registering, async (c) => {
      const call = c.get('call')
      const registered = await register(options, call, c.req.valid('json'))
      withConsistency(c, call)
      return c.json(registered, 201, { Location: `/users/${registered.id}` })
    })
    .openapi(read, async (c) => {
      const found = await readUser(c.get('call'), readId(c))
      return answerSnapshot(c, found.version, found)
    })
    .openapi(renaming, async (c) => {
      const { call, identity } = c.var
      const { id } = c.req.valid('param')
      refuseForeignUser(identity, id)
      const renamed = await renameUser(call.users, { id, name: c.req.valid('json').name })
      noteUser(call, renamed)
      withConsistency(c, call)
      return c.json(renamed, 200)
    })
    .openapi(closing, async (c) => {
      const { call, identity } = c.var
      const { id } = c.req.valid('param')
      refuseForeignUser(identity, id)
      const closed = await closeUser(call.users, { id })
      noteUser(call, closed)
      withConsistency(c, call)
      return c.json(closed, 202)
    })
