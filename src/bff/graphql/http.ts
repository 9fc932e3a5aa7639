import {
  type DocumentNode,
  getOperationAST,
  type GraphQLSchema,
  type execute as Execute,
  type parse as Parse,
  type validate as Validate,
} from 'graphql'
import type { createGraphql } from './yoga.ts'
import type { GraphqlContext } from './builder.ts'

type Yoga = ReturnType<typeof createGraphql>

type Enveloped = {
  schema: GraphQLSchema
  parse: typeof Parse
  validate: typeof Validate
  execute: typeof Execute
  contextFactory: () => unknown
}

type Operation = { query: string; variables?: Record<string, unknown>; operationName?: string }

/**
 * Answers GraphQL requests. The common one, a JSON POST that wants JSON back, runs through Yoga's own plugins for parsing,
 * validation, execution and masking, without its HTTP pipeline, which costs more than the whole execution of a small query
 * on Bun. Everything else (GET, GraphiQL, subscriptions, other media types, requests that are not well formed) is Yoga's.
 */
export const createGraphqlHandler = (yoga: Yoga) => {
  const throughYoga = async (
    request: Request,
    body: string | undefined,
    context: GraphqlContext,
  ): Promise<Response> => {
    const { method, headers, url, signal } = request
    return yoga.fetch(body === undefined ? request : new Request(url, { method, headers, body, signal }), context)
  }

  return async (request: Request, context: GraphqlContext): Promise<Response> => {
    if (request.method !== 'POST' || !wantsPlainJson(request.headers)) return throughYoga(request, undefined, context)
    const body = await request.text()
    const operation = readOperation(body)
    if (!operation) return throughYoga(request, body, context)

    const enveloped = yoga.getEnveloped({ ...context, request, params: operation }) as Enveloped
    const document = parsedBy(enveloped, operation.query)
    if (!document) return throughYoga(request, body, context)
    const kind = getOperationAST(document, operation.operationName)?.operation
    if (kind === undefined || kind === 'subscription') return throughYoga(request, body, context)
    if (enveloped.validate(enveloped.schema, document).length > 0) return throughYoga(request, body, context)
    const result = await enveloped.execute({
      schema: enveloped.schema,
      document,
      contextValue: await enveloped.contextFactory(),
      ...(operation.variables ? { variableValues: operation.variables } : {}),
      ...(operation.operationName === undefined ? {} : { operationName: operation.operationName }),
    })
    // Nothing ran, since the variables do not fit: Yoga knows the status for that.
    if (!('data' in result)) return throughYoga(request, body, context)
    return new Response(JSON.stringify(result), { headers: { 'content-type': 'application/json; charset=utf-8' } })
  }
}

/** The document, or undefined for a text that is no GraphQL: Yoga answers that as the specification says. */
const parsedBy = (enveloped: Enveloped, query: string): DocumentNode | undefined => {
  try {
    return enveloped.parse(query)
  } catch {
    return undefined
  }
}

const wantsPlainJson = (headers: Headers): boolean => {
  const type = headers.get('content-type') ?? ''
  const accept = headers.get('accept') ?? '*/*'
  if (type !== 'application/json' && !type.startsWith('application/json;')) return false
  return accept === '*/*' || accept === 'application/json'
}

/** The operation of a well-formed body that holds nothing unusual; undefined leaves the body to Yoga. */
const readOperation = (body: string): Operation | undefined => {
  let parsed: unknown
  try {
    parsed = JSON.parse(body)
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined
  const { query, variables, operationName, ...rest } = parsed as Record<string, unknown>
  if (typeof query !== 'string' || Object.keys(rest).length > 0) return undefined
  if (variables !== undefined && variables !== null && (typeof variables !== 'object' || Array.isArray(variables)))
    return undefined
  if (operationName !== undefined && operationName !== null && typeof operationName !== 'string') return undefined
  return {
    query,
    ...(variables ? { variables: variables as Record<string, unknown> } : {}),
    ...(typeof operationName === 'string' ? { operationName } : {}),
  }
}
