import { createRoute, z } from '@hono/zod-openapi'
import { signIn, signOut } from '#modules/users'
import type { BffOptions } from './bff.ts'
import { createSessionInput } from './inputs.ts'
import { sessionExample } from './examples.ts'
import { forSignedIn } from './access.ts'
import { changed, commandHeaders, createRouter, jsonBody, problems, withConsistency } from './openapi.ts'
import type { Call } from './call.ts'
import { noteUser } from './users.ts'

export type Session = { token: string; expiresAt: string; userId: string }

const session = z
  .object({ token: z.string(), expiresAt: z.iso.datetime(), userId: z.uuid() })
  .openapi('Session', { example: sessionExample })

const tags = ['sessions']

const create = createRoute({
  method: 'post',
  path: '/sessions',
  tags,
  summary: 'Sign in',
  request: jsonBody(createSessionInput),
  responses: { 201: changed('Signed in', session), ...problems(400, 401, 408, 413, 415, 429) },
})

const end = createRoute({
  method: 'delete',
  path: '/sessions/current',
  tags,
  summary: 'Sign out: the token is dead',
  ...forSignedIn,
  responses: { 204: { description: 'Signed out', headers: commandHeaders }, ...problems(401) },
})

/** Checks the credentials and issues a token. @throws DomainError `bad-credentials`, `too-many-attempts` */
export const createSession = async (
  { tokens, limits }: Pick<BffOptions, 'tokens' | 'limits'>,
  call: Call,
  input: z.infer<typeof createSessionInput>,
): Promise<Session> => {
  await limits.signIn(call.address())
  const { userId, role, version } = await signIn(call.users, input)
  noteUser(call, { id: userId, version })
  const { token, expiresAt } = await tokens.issue({ userId, role })
  return { token, expiresAt: expiresAt.toISOString(), userId }
}

export const sessionRoutes = (options: BffOptions) =>
  createRouter()
    .openapi(create, async (c) => {
      const call = c.get('call')
      const created = await createSession(options, call, c.req.valid('json'))
      withConsistency(c, call)
      return c.json(created, 201)
    })
    .openapi(end, async (c) => {
      const { call, identity } = c.var
      const { tokenId, userId, expiresAt } = identity
      await signOut(call.users, { tokenId, userId, expiresAt })
      // The user is as it was: any version will do for a later read.
      noteUser(call, { id: userId, version: 0 })
      withConsistency(c, call)
      return c.body(null, 204)
    })
