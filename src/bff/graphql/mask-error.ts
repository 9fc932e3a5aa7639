import { GraphQLError } from 'graphql'
import type { Log } from '#platform/log'
import { InvalidInputError, toFailure } from '../problems.ts'

/** What a client may know of an error: the codes of the HTTP routes, and of anything unexpected nothing but that it is in the log. */
export const createMaskError =
  (log: Log) =>
  (error: unknown): GraphQLError => {
    const { originalError, nodes, path }: Partial<GraphQLError> = error instanceof GraphQLError ? error : {}
    if (error instanceof GraphQLError && (!originalError || originalError instanceof GraphQLError)) return coded(error)
    const cause = originalError ?? error
    const { problem, retryAfterSeconds, fault } = toFailure(cause)
    if (fault) log.error({ error: cause, path: path?.join('.') }, 'a GraphQL field failed')
    const hidden = problem.status === 500 || problem.status === 503 || !(cause instanceof Error)
    return new GraphQLError(hidden ? problem.detail : cause.message, {
      ...(nodes ? { nodes } : {}),
      ...(path ? { path } : {}),
      extensions: {
        code: problem.code,
        ...(cause instanceof InvalidInputError ? { errors: cause.errors } : {}),
        ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      },
    })
  }

/** GraphQL's own refusals, of syntax and of validation, keep their text and get a code. */
const coded = (error: GraphQLError): GraphQLError => {
  if (error.extensions['code'] === undefined) error.extensions['code'] = 'invalid-query'
  return error
}
