import {
  type DocumentNode,
  type ExecutionResult,
  GraphQLError,
  type GraphQLSchema,
  type OperationTypeNode,
  type parse as Parse,
  type validate as Validate,
  getOperationAST,
} from 'graphql'
import { OverloadedError, StartError, messageOf } from '#platform/errors'
import { arriving } from '../bodies.ts'
import { type Operation, isJson, readOperation, readParameters, takesJson } from './asked.ts'
import type { GraphqlContext } from './builder.ts'
import { createStoredDocuments } from './stored-documents.ts'
import type { Graphql } from './yoga.ts'

type Enveloped = { schema: GraphQLSchema; parse: typeof Parse; validate: typeof Validate }

/** Texts longer than this are prepared anew each time, so that a client cannot fill the memory with them. */
const maxRememberedLength = 4_000
const rememberedDocuments = 1_000

export type HandlerOptions = {
  /** The texts of the stored documents, by their names. */
  stored: ReadonlyMap<string, string>
  /** Runs no others. */
  storedOnly: boolean
}

/**
 * Answers GraphQL requests. The common one, a JSON POST that wants JSON back, is parsed and validated with Yoga's plugins
 * once for each text, then executed and masked here: Yoga's HTTP pipeline and its wrapping of each execution cost more
 * than the whole execution of a small query on Bun. Everything else (GET, GraphiQL, subscriptions, other media types,
 * requests that are not well formed or not valid) is Yoga's.
 * @throws StartError when a stored document is not valid
 */
export const createGraphqlHandler = (
  { yoga, schema, maskError, execute, hideSuggestions }: Graphql,
  options: HandlerOptions,
) => {
  const storedDocuments = createStoredDocuments(options.stored, options.storedOnly)

  const throughYoga = async (request: Request, body: string, context: GraphqlContext): Promise<Response> => {
    const { method, headers, url, signal } = request
    return yoga.fetch(new Request(url, { method, headers, body, signal }), context)
  }

  /** @throws GraphQLError, the first that is wrong with the text */
  const prepare = (query: string): DocumentNode => {
    const enveloped = yoga.getEnveloped() as Enveloped
    const document = enveloped.parse(query)
    const [error] = enveloped.validate(enveloped.schema, document)
    if (error) throw error
    return document
  }

  const pinned = new Map<string, DocumentNode>()
  for (const [id, text] of options.stored) {
    try {
      pinned.set(text, prepare(text))
    } catch (error) {
      throw new StartError(`The stored document ${id} is not valid: ${messageOf(error)}`, { cause: error })
    }
  }

  const remembered = new Map<string, DocumentNode>()
  /** The document of a text that is valid; undefined for any other, which Yoga answers as the specification says. */
  const documentOf = (query: string): DocumentNode | undefined => {
    const known = remembered.get(query) ?? pinned.get(query)
    if (known) return known
    try {
      const document = prepare(query)
      if (query.length > maxRememberedLength) return document
      if (remembered.size >= rememberedDocuments) remembered.delete(remembered.keys().next().value ?? '')
      remembered.set(query, document)
      return document
    } catch {
      return undefined
    }
  }

  const run = async (document: DocumentNode, operation: Operation, context: GraphqlContext) =>
    execute({
      schema,
      document,
      contextValue: context,
      hideSuggestions,
      ...(operation.variables ? { variableValues: operation.variables } : {}),
      ...(operation.operationName === undefined ? {} : { operationName: operation.operationName }),
    })

  const answerPost = async (request: Request, context: GraphqlContext): Promise<Response> => {
    const given = await arriving(request.text(), context.options.requestTimeoutMs)
    const sent = readParameters(given)
    const parameters = sent && storedDocuments.inParameters(sent)
    const body = parameters === sent ? given : JSON.stringify(parameters)
    const operation = parameters && takesJson(request.headers) ? readOperation(parameters) : undefined
    const document = operation && documentOf(operation.query)
    if (!document || !isAnswerable(document, operation)) return throughYoga(request, body, context)
    const result = await run(document, operation, context)
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

  return async (request: Request, context: GraphqlContext): Promise<Response> => {
    try {
      if (request.method === 'POST' && isJson(request.headers)) return await answerPost(request, context)
      if (request.method === 'POST') storedDocuments.refuseText()
      if (request.method !== 'GET') return yoga.fetch(request, context)
      const url = storedDocuments.inSearch(request.url)
      return yoga.fetch(url === request.url ? request : new Request(url, request), context)
    } catch (error) {
      if (!(error instanceof GraphQLError)) throw error
      return Response.json({ errors: [error] }, { status: 400 })
    }
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
