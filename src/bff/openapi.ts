import { OpenAPIHono, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { problemExample } from './examples.ts'
import { invalidInput, parseInput } from './inputs.ts'
import { toFailure } from './problems.ts'
import { type Call, type Env, consistencyOf } from './call.ts'

export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .openapi('Problem', { example: problemExample })

export const bearer = [{ bearer: [] }]

const descriptions: Record<number, string> = {
  400: 'The request does not fit its schema',
  401: 'Not signed in, or the credentials are wrong',
  403: 'Not allowed',
  404: 'Not there, or not yours',
  408: 'The body did not arrive in time',
  409: 'Conflicts with the present state',
  413: 'The body is too large',
  415: 'The body is not application/json',
  429: 'Too many attempts; Retry-After says when to come back',
  503: 'Not available now; Retry-After says when to come back',
}

/** The problem answers of a route, for its OpenAPI description. */
export const problems = (...statuses: number[]) =>
  Object.fromEntries(
    [...statuses, 503].map((status) => [
      status,
      {
        description: descriptions[status] ?? 'Refused',
        content: { 'application/problem+json': { schema: problemSchema } },
      },
    ]),
  )

export const jsonBody = <Schema extends z.ZodType>(schema: Schema) => ({
  body: { required: true, content: { 'application/json': { schema } } },
})

/** The headers that every command answers with. */
export const commandHeaders = z.object({
  'Consistency-Token': z
    .string()
    .openapi({ description: 'Send it back with a GET to read no older state than this change' }),
  'Correlation-Id': z.string(),
})

/** The answer of a command, with its headers. */
export const changed = <Schema extends z.ZodType>(description: string, schema: Schema) => ({
  description,
  headers: commandHeaders,
  content: { 'application/json': { schema } },
})

/** The answer of a command that made something, with where it is. */
export const created = <Schema extends z.ZodType>(description: string, schema: Schema) => ({
  ...changed(description, schema),
  headers: commandHeaders.extend({ Location: z.string() }),
})

/** The answers of a read that is answered 304 to whoever holds the newest version already. */
export const conditionally = <Schema extends z.ZodType>(description: string, schema: Schema) => {
  const headers = z.object({ ETag: z.string().openapi({ example: '"2"' }), 'Correlation-Id': z.string() })
  return {
    200: { description, headers, content: { 'application/json': { schema } } },
    304: { description: 'The version that If-None-Match names is the newest', headers },
  }
}

const header = (name: string, description: string, maxLength: number) => ({
  name,
  in: 'header' as const,
  description,
  schema: { type: 'string' as const, maxLength },
})

/** Part of the description of a command that may be sent again without a second effect. */
export const repeatable = {
  parameters: [
    header(
      'Idempotency-Key',
      'Of your choice: the same key and body are given the first answer again, whatever happened to it',
      255,
    ),
  ],
}

/** Part of the description of a command that may be sent again, and whose end the client may wait for. */
export const endsLater = {
  parameters: [
    ...repeatable.parameters,
    header('Prefer', 'wait=N: answers 200 with how it ended when that comes within N seconds, 30 at most', 255),
  ],
}

/** The answer of a command that the client waited for. */
export const ended = <Schema extends z.ZodType>(description: string, schema: Schema) => ({
  ...created(description, schema),
  headers: commandHeaders.extend({ Location: z.string(), 'Preference-Applied': z.string() }),
})

/** Part of the description of a read that waits for a change. */
export const awaiting = {
  parameters: [
    header('Consistency-Token', 'From the answer of a command: waits up to 5 s until its change is seen', 8_192),
  ],
}

/** Part of the description of a read that waits for a change and may be asked for conditionally. */
export const cacheable = {
  parameters: [...awaiting.parameters, header('If-None-Match', 'The ETag of an earlier answer', 1_024)],
}

const exampleId = '0198c0de-0000-7000-8000-000000000001'

export const idParameter = z.object({
  id: z
    .uuid('must be a UUID')
    .toLowerCase()
    .openapi({ param: { name: 'id', in: 'path' }, example: exampleId }),
})

/**
 * Part of the description of a read by id that may be asked for conditionally. Its handler takes the id by `readId`, one parse
 * without the middleware that a validator of the router is.
 */
export const cacheableById = {
  parameters: [
    {
      name: 'id',
      in: 'path' as const,
      required: true,
      schema: { type: 'string' as const, format: 'uuid', example: exampleId },
    },
    ...cacheable.parameters,
  ],
}

/** The id in the path. @throws InvalidInputError when it is none */
export const readId = (c: Context): string => parseInput(idParameter, { id: c.req.param('id') }).id

/** A router whose invalid requests become 400 problems. */
export const createRouter = () =>
  new OpenAPIHono<Env>({
    defaultHook: (result) => {
      if (!result.success) throw invalidInput(result.error)
    },
  })

/** Answers an error as a problem, with the headers that its kind asks for. */
export const answerProblem = (c: Context, error: unknown): Response => {
  const { problem, retryAfterSeconds } = toFailure(error)
  if (retryAfterSeconds !== undefined) c.header('Retry-After', String(retryAfterSeconds))
  if (problem.status === 401) c.header('WWW-Authenticate', 'Bearer')
  return c.body(JSON.stringify(problem), problem.status, { 'content-type': 'application/problem+json' })
}

/** Adds the Consistency-Token of what the request's commands changed. */
export const withConsistency = (c: Context, call: Call): void => c.header('Consistency-Token', consistencyOf(call))
