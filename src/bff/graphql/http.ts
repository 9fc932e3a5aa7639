import {
  type DocumentNode,
  type ExecutionResult,
  type OperationTypeNode,
  type GraphQLSchema,
  type parse as Parse,
  type validate as Validate,
  getOperationAST,
} from 'graphql'
import { OverloadedError } from '#platform/errors'
import { arriving } from '../bodies.ts'
import type { Graphql } from './yoga.ts'
import type { GraphqlContext } from './builder.ts'

type Enveloped = { schema: GraphQLSchema; parse: typeof Parse; validate: typeof Validate }

type Operation = { query: string; variables?: Record<string, unknown>; operationName?: string }

/** Texts longer than this are prepared anew each time, so that a client cannot fill the memory with them. */
const maxRememberedLength = 4_000
const rememberedDocuments = 1_000

/**
 * Answers GraphQL requests. The common one, a JSON POST that wants JSON back, is parsed and validated with Yoga's plugins
 * once for each text, then executed and masked here: Yoga's HTTP pipeline and its wrapping of each execution cost more
 * than the whole execution of a small query on Bun. Everything else (GET, GraphiQL, subscriptions, other media types,
 * requests that are not well formed or not valid) is Yoga's.
 */
export const createGraphqlHandler = ({ yoga, schema, maskError, execute }: Graphql) => {
  const throughYoga = async (
    request: Request,
    body: string | undefined,
    context: GraphqlContext,
  ): Promise<Response> => {
    const { method, headers, url, signal } = request
    return yoga.fetch(body === undefined ? request : new Request(url, { method, headers, body, signal }), context)
  }

  /** The document of a text that is valid; undefined for any other, which Yoga answers as the specification says. */
  const prepare = (query: string): DocumentNode | undefined => {
    const enveloped = yoga.getEnveloped() as Enveloped
    try {
      const document = enveloped.parse(query)
      return enveloped.validate(enveloped.schema, document).length === 0 ? document : undefined
    } catch {
      return undefined
    }
  }

  const remembered = new Map<string, DocumentNode>()
  const documentOf = (query: string): DocumentNode | undefined => {
    const known = remembered.get(query)
    if (known) return known
    const document = prepare(query)
    if (!document || query.length > maxRememberedLength) return document
    if (remembered.size >= rememberedDocuments) remembered.delete(remembered.keys().next().value ?? '')
    remembered.set(query, document)
    return document
  }

  return async (request: Request, context: GraphqlContext): Promise<Response> => {
    if (request.method !== 'POST' || !wantsPlainJson(request.headers)) return throughYoga(request, undefined, context)
    const body = await arriving(request.text(), context.options.requestTimeoutMs)
    const operation = readOperation(body)
    if (!operation) return throughYoga(request, body, context)
    const document = documentOf(operation.query)
    if (!document || !isAnswerable(document, operation)) return throughYoga(request, body, context)
    const result = await execute({
      schema,
      document,
      contextValue: context,
      ...(operation.variables ? { variableValues: operation.variables } : {}),
      ...(operation.operationName === undefined ? {} : { operationName: operation.operationName }),
    })
    // Nothing ran, since the variables do not fit: Yoga knows the status for that.
    if (!('data' in result)) return throughYoga(request, body, context)
    const masked = result.errors ? { ...result, errors: result.errors.map(maskError) } : result
    const retryAfterSeconds = heldBack(result)
    return new Response(JSON.stringify(masked), {
      status: retryAfterSeconds === undefined ? 200 : 503,
      headers: {
        'content-type': 'application/json; charset=utf-8',
        ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
      },
    })
  }
}

/** When to come back with an operation of which nothing was done, since there was too much to do. */
const heldBack = ({ data, errors }: ExecutionResult): number | undefined => {
  if (Object.values(data ?? {}).some((field) => field !== null)) return undefined
  for (const { originalError } of errors ?? []) {
    if (originalError instanceof OverloadedError) return originalError.retryAfterSeconds
  }
  return undefined
}

const answerable: (OperationTypeNode | undefined)[] = ['query', 'mutation'] as OperationTypeNode[]

/** Whether the text has the one operation that is asked for, and it answers once. */
const isAnswerable = (document: DocumentNode, { operationName }: Operation): boolean =>
  answerable.includes(getOperationAST(document, operationName)?.operation)

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
