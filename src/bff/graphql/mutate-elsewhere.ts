import { type ExecutionArgs, type ExecutionResult, GraphQLError, type Source } from 'graphql'
import { z } from 'zod'
import { DomainError, ElsewhereError, OverloadedError } from '#platform/errors'
import { decodeConsistency } from '../consistency.ts'
import { type Elsewhere, ask, onBehalfOf } from '../forward.ts'
import type { GraphqlContext } from './builder.ts'

/** Names the fields of the document that its receiver is to run; the others run where they are hosted. */
const fieldsHeader = 'mutation-fields'

/** The fields that another process asks for; undefined when the whole operation is meant. */
export const fieldsAskedFor = (headers: Headers): Set<string> | undefined => {
  const names = headers.get(fieldsHeader)
  return names === null ? undefined : new Set(names.split(','))
}

const answered = z.object({
  data: z.record(z.string(), z.unknown()).nullish(),
  errors: z
    .array(
      z.object({
        message: z.string(),
        path: z.array(z.union([z.string(), z.number()])).optional(),
        locations: z.array(z.object({ line: z.int(), column: z.int() })).optional(),
        extensions: z.looseObject({ code: z.string(), retryAfterSeconds: z.number().optional() }),
      }),
    )
    .optional(),
})

const refused = z.object({ code: z.string(), detail: z.string() })

/** Runs fields of a mutation in the process that hosts their module, for the same client and under the same keys. */
export const mutateElsewhere = async (
  { document, operationName, variableValues, contextValue }: ExecutionArgs,
  place: Elsewhere,
  names: string[],
): Promise<ExecutionResult> => {
  const { call, headers: given } = contextValue as GraphqlContext
  const headers = onBehalfOf(given, call)
  headers.set('content-type', 'application/json')
  headers.set(fieldsHeader, [...new Set(names)].join())
  const body = JSON.stringify({ query: document.loc?.source.body, variables: variableValues, operationName })
  try {
    const answer = await ask(place, { method: 'POST', path: '/graphql', headers, body })
    call.changed.push(...decodeConsistency(answer.headers.get('consistency-token') ?? ''))
    return await resultOf(answer, place, document.loc?.source)
  } catch (error) {
    if (!(error instanceof DomainError || error instanceof ElsewhereError || error instanceof OverloadedError))
      throw error
    const [path] = names
    const failure = new GraphQLError(error.message, { originalError: error, ...(path && { path: [path] }) })
    return { errors: [failure], data: null }
  }
}

/** @throws what the process refused the whole request with */
const resultOf = async (answer: Response, { name }: Elsewhere, source?: Source): Promise<ExecutionResult> => {
  const body: unknown = await answer.json().catch(() => undefined)
  if (answer.headers.get('content-type') === 'application/problem+json') throw refusalOf(answer, name, body)
  const { data: result } = answered.safeParse(body)
  if (!result) throw silent(name, answer)
  const errors = result.errors?.map((failure) => toError(failure, source))
  if (result.data !== undefined) return { data: result.data, ...(errors && { errors }) }
  // Nothing was executed, since the variables do not fit: Yoga answers with the status that it finds here.
  for (const { extensions } of errors ?? []) extensions['http'] = { status: answer.status }
  return { ...(errors && { errors }) }
}

type Failure = NonNullable<z.infer<typeof answered>['errors']>[number]

/** What went wrong there, as if it had been here. */
const toError = ({ message, path, locations, extensions }: Failure, source: Source | undefined): GraphQLError => {
  const { code, retryAfterSeconds } = extensions
  return new GraphQLError(message, {
    ...(path && { path }),
    ...(source && locations && { source, positions: positionsOf(locations, source) }),
    extensions,
    ...(code === 'overloaded' && { originalError: overloaded(message, retryAfterSeconds) }),
  })
}

const positionsOf = (locations: NonNullable<Failure['locations']>, { body }: Source): number[] => {
  const starts = [0, ...[...body.matchAll(/\r\n|[\n\r]/g)].map((end) => end.index + end[0].length)]
  return locations.map(({ line, column }) => (starts[line - 1] ?? 0) + column - 1)
}

const overloaded = (message: string, retryAfterSeconds = 1) => new OverloadedError(message, { retryAfterSeconds })

const silent = (name: string, { status }: Response) =>
  new ElsewhereError('module-not-answering', `The process that hosts ${name} answered ${status}. Try again.`)

const refusalOf = (answer: Response, name: string, body: unknown): Error => {
  const { data } = refused.safeParse(body)
  if (!data) return silent(name, answer)
  if (data.code === 'overloaded') return overloaded(data.detail, Number(answer.headers.get('retry-after') ?? 1))
  return answer.status >= 500 ? silent(name, answer) : new DomainError(data.code, data.detail)
}
