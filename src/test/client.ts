import { expect } from 'bun:test'
import { z } from 'zod'
import { type UserSnapshot, userSnapshot } from '#modules/users'
import { type OpenapiDocument, openapiDocument, unfit } from './openapi.ts'

export type Answer = { status: number; headers: Headers; body: unknown }

export type Sent = {
  /** Sent as JSON, a string or a stream as it is. */
  body?: unknown
  token?: string
  headers?: Record<string, string>
}

export type Account = { user: UserSnapshot; id: string; email: string; password: string; token: string }

const problem = z.strictObject({
  type: z.string().startsWith('urn:bulkhead:problem:'),
  title: z.string().min(1),
  status: z.int(),
  detail: z.string().min(1),
  code: z.string().min(1),
  errors: z
    .array(z.strictObject({ path: z.string(), message: z.string().min(1) }))
    .min(1)
    .optional(),
})

const graphqlAnswer = z.object({
  data: z.record(z.string(), z.unknown()).nullish(),
  errors: z
    .array(
      z.object({
        message: z.string(),
        path: z.array(z.union([z.string(), z.number()])).optional(),
        extensions: z.looseObject({ code: z.string() }),
      }),
    )
    .min(1)
    .optional(),
})

export const freshEmail = () => `${Bun.randomUUIDv7()}@Example.com`

/** A client of the whole API, which checks on every answer what holds for all of them. */
export const createClient = (url: string) => {
  let document: Promise<OpenapiDocument> | undefined
  const readDocument = async () => openapiDocument.parse(await (await fetch(`${url}/openapi.json`)).json())

  const raw = (method: string, path: string, { body, token, headers }: Sent = {}): Promise<Response> =>
    fetch(`${url}${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { body: typeof body === 'string' || body instanceof ReadableStream ? body : JSON.stringify(body) }),
    })

  const send = async (method: string, path: string, sent?: Sent): Promise<Answer> => {
    const described = await (document ??= readDocument())
    const response = await raw(method, path, sent)
    const { status, headers } = response
    const text = await response.text()
    const body: unknown = /json/.test(headers.get('content-type') ?? '') ? JSON.parse(text) : text
    expect(headers.get('correlation-id')).toMatch(/^[\w.:/+=-]{1,128}$/)
    if (status >= 400 && !path.startsWith('/graphql') && path !== '/readyz') {
      expect(headers.get('content-type')).toBe('application/problem+json')
      expect(problem.parse(body).status).toBe(status)
    }
    expect(unfit(described, { method, path, status, headers, body })).toEqual([])
    return { status, headers, body }
  }

  /** Registers somebody, waits for the snapshot and signs in. */
  const signUp = async (name = 'Ada Lovelace'): Promise<Account> => {
    const [email, password] = [freshEmail(), 'correct horse battery staple']
    const registered = await send('POST', '/users', { body: { name, email, password } })
    expect(registered.status).toBe(201)
    const user = userSnapshot.parse(registered.body)
    const token = await signIn(email, password)
    const read = await send('GET', `/users/${user.id}`, { token, headers: consistency(registered) })
    expect(read.body).toEqual(user)
    return { user, id: user.id, email, password, token }
  }

  const signIn = async (email: string, password: string): Promise<string> => {
    const { status, body } = await send('POST', '/sessions', { body: { email, password } })
    expect(status).toBe(201)
    return z.object({ token: z.string() }).parse(body).token
  }

  const graphql = async (query: string, variables: Record<string, unknown> = {}, sent: Omit<Sent, 'body'> = {}) => {
    const answer = await send('POST', '/graphql', { ...sent, body: { query, variables } })
    return { ...answer, ...graphqlAnswer.parse(answer.body) }
  }

  return { url, raw, send, signUp, signIn, graphql }
}

export type Client = ReturnType<typeof createClient>

/** The header that lets a read wait for what this answer's command changed. */
export const consistency = ({ headers }: Pick<Answer, 'headers'>) => ({
  'consistency-token': headers.get('consistency-token') ?? '',
})

/** What a refusal says, without the words. */
export const refusal = ({ status, body }: Answer) => ({ status, code: problem.parse(body).code })
