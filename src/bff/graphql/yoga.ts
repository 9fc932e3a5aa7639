import { GraphQLError, execute } from 'graphql'
import { type Plugin, createYoga } from 'graphql-yoga'
import type { Log } from '#platform/log'
import type { Elsewhere } from '../forward.ts'
import { observeMutations } from '../metrics.ts'
import { InvalidInputError, toFailure } from '../problems.ts'
import { builder, type GraphqlContext } from './builder.ts'
import { limitCost } from './cost.ts'
import { executeWhereHosted } from './execute.ts'
import './users.ts'
import './orders.ts'
import './checkouts.ts'
import './payments.ts'

const schema = builder.toSchema()
observeMutations(schema)

type Options = { graphiql: boolean; log: Log; elsewhere: Elsewhere[] }

const limited: Plugin = { onValidate: ({ addValidationRule }) => addValidationRule(limitCost) }

export type Graphql = ReturnType<typeof createGraphql>

/** GraphQL over HTTP. Errors carry the codes of the HTTP routes; anything unexpected is masked and logged. */
export const createGraphql = ({ graphiql, log, elsewhere }: Options) => {
  const split: Plugin = {
    onExecute: ({ executeFn, setExecuteFn }) => setExecuteFn(executeWhereHosted(elsewhere, executeFn)),
  }
  const maskError = (error: unknown): Error => {
    if (!(error instanceof GraphQLError))
      return new GraphQLError('Something went wrong here.', { extensions: { code: 'internal' } })
    const { originalError } = error
    if (!originalError || originalError instanceof GraphQLError) return coded(error)
    const { problem, retryAfterSeconds, fault } = toFailure(originalError)
    if (fault) log.error({ error: originalError, path: error.path?.join('.') }, 'a GraphQL field failed')
    const message = problem.status === 500 || problem.status === 503 ? problem.detail : originalError.message
    return new GraphQLError(message, {
      ...(error.nodes ? { nodes: error.nodes } : {}),
      ...(error.path ? { path: error.path } : {}),
      extensions: {
        code: problem.code,
        ...(originalError instanceof InvalidInputError ? { errors: originalError.errors } : {}),
        ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      },
    })
  }
  const yoga = createYoga<GraphqlContext>({
    schema,
    graphiql,
    landingPage: false,
    logging: false,
    batching: false,
    cors: false,
    // The limit is set where the body enters; Yoga's own copies every body through a stream.
    maxRequestBodySize: false,
    maskedErrors: { maskError },
    plugins: [limited, split],
  })
  return { yoga, schema, maskError, execute: executeWhereHosted(elsewhere, execute) }
}

/** GraphQL's own refusals, of syntax and of validation, keep their text and get a code. */
const coded = (error: GraphQLError): GraphQLError => {
  if (error.extensions['code'] === undefined) error.extensions['code'] = 'invalid-query'
  return error
}
