import type { Context as OrdersContext } from '#modules/orders'
import type { Context as PaymentsContext } from '#modules/payments'
import type { Context as UsersContext } from '#modules/users'
import type { Addresses } from '#platform/addresses'
import { within } from '#platform/deadline'
import { DomainError, TimedOutError } from '#platform/errors'
import type { Log } from '#platform/log'
import type { AnyMessageType } from '#platform/messaging/catalogue'
import type { Trace } from '#platform/messaging/message'
import type { Keep } from '#platform/messaging/outbox'
import type { HostedModule } from '#platform/module'
import type { News } from '#platform/news'
import type { SnapshotReader } from '#platform/snapshot-reader'
import { cors } from 'hono/cors'
import { HTTPException } from 'hono/http-exception'
import { isEncrypted } from './address.ts'
import { takeBody } from './bodies.ts'
import { checkoutRoutes } from './checkouts.ts'
import { deadLetterRoutes } from './dead-letters.ts'
import { docsRoutes } from './docs.ts'
import { type Elsewhere, forwardedRoutes } from './forward.ts'
import { serverOf } from './connection.ts'
import { flowRoutes } from './flows.ts'
import { createGraphqlHandler } from './graphql/http.ts'
import { readStoredTexts } from './graphql/stored-documents.ts'
import type { Streams } from './graphql/streams.ts'
import { createGraphql } from './graphql/yoga.ts'
import { exposeHeaders, policyOfGraphiql, secureHeaders, strictTransport } from './headers.ts'
import { healthRoutes } from './health.ts'
import type { Tokens } from './identity.ts'
import type { Limits } from './limits.ts'
import { createLoad } from './load.ts'
import { answerProblem, createRouter } from './openapi.ts'
import { toFailure } from './problems.ts'
import { awaitChange, consistencyOf, consistencyTokenOf, createCall } from './call.ts'
import { createMethods } from './methods.ts'
import { endSpan, metricsRoutes, observeRequest } from './metrics.ts'
import { orderRoutes } from './orders.ts'
import { preferredSeconds } from './prefer.ts'
import { paymentRoutes } from './payments.ts'
import { productRoutes } from './products.ts'
import { sagaRoutes } from './sagas.ts'
import { sessionRoutes } from './sessions.ts'
import { settlementRoutes } from './settlements.ts'
import { userRoutes } from './users.ts'

type Hosted<Name extends string, Context> = Pick<
  HostedModule<Name>,
  'name' | 'deadLetters' | 'sagas' | 'flow' | 'findAnswer' | 'keepRefusal'
> & { snapshots: SnapshotReader; context(trace: Trace, keep?: Keep): Context }

export type BffOptions = {
  modules: {
    users: Hosted<'users', UsersContext>
    orders: Hosted<'orders', OrdersContext>
    payments: Hosted<'payments', PaymentsContext>
  }
  /** Those of the modules that other processes host. */
  elsewhere: Elsewhere[]
  tokens: Tokens
  log: Log
  /** Every type of message that a module declares. */
  messages: AnyMessageType[]
  /** The metrics of this process, as Prometheus text. */
  scrape: () => Promise<string>
  /** What keeps the process from serving; empty when nothing does. */
  notReady: () => Promise<string[]>
  /** So many requests are worked on at once; more are refused. */
  maxRequestsInFlight: number
  /** A change that takes longer is answered 503; one whose client prefers to wait may take that much longer. */
  requestTimeoutMs: number
  limits: Limits
  /** Our proxies, whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. */
  proxies: Addresses
  /** The origins whose pages may read answers. */
  corsOrigins: string[]
  /** Aborts when the process is about to stop: whoever only waits is answered then. */
  stopping: AbortSignal
  /** Tells of newer snapshots. */
  news: News
  /** Serve GraphiQL. */
  development: boolean
  /** Tell clients of GraphQL the schema. */
  introspection: boolean
  /** Run no GraphQL but the stored documents. */
  storedDocumentsOnly: boolean
  /** The subscriptions that are open. */
  streams: Streams
}

export type Bff = ReturnType<typeof createBff>

/** Whoever watches over the process is answered also when it has too much to do. */
const neverRefused = new Set(['/livez', '/readyz', '/metrics'])

const timedOut = () =>
  new TimedOutError('This took too long. It may have been done all the same: look, or send it again with the same key.')

/** Yoga sends something every 12 s, unless the client has stopped reading: then the connection ends. */
const streamIdleSeconds = 60

/** The HTTP and GraphQL faces of the process: the only place that knows either, and the only one that joins modules. */
export const createBff = (options: BffOptions) => {
  const { log, development, introspection, storedDocumentsOnly } = options
  const { proxies, requestTimeoutMs, stopping, news, corsOrigins, elsewhere } = options
  const graphql = createGraphqlHandler(createGraphql({ graphiql: development, introspection, log, elsewhere }), {
    stored: readStoredTexts(),
    storedOnly: storedDocumentsOnly,
  })
  const app = createRouter()
  const waits = { load: createLoad(options.maxRequestsInFlight), stopping, news }

  app.use(async (c, next) => {
    const startedAt = performance.now()
    const call = createCall(c, options, waits)
    c.set('call', call)
    await next()
    observeRequest(c, startedAt)
    if (call.span) endSpan(c, call.span)
    // Not by c.header, which copies a finished answer with its body as a stream.
    const { headers } = c.res
    headers.set('Correlation-Id', call.trace.correlationId)
    secureHeaders(headers)
    if (isEncrypted(c, proxies)) headers.set(...strictTransport)
  })
  if (corsOrigins.length > 0) app.use(cors({ origin: corsOrigins, maxAge: 600, exposeHeaders }))
  const withBody = takeBody(requestTimeoutMs)
  app.use((c, next) => {
    if (neverRefused.has(c.req.path)) return next()
    // What only reads is held up by nothing but Redis and Postgres, which have limits of their own.
    if (c.req.method === 'GET') {
      const token = consistencyTokenOf(c)
      if (token === undefined) return waits.load.admit(next)
      return waits.load.admit(async () => {
        await awaitChange(c.get('call'), token, options)
        await next()
      })
    }
    const work = waits.load.admit(async () => withBody(c, next))
    const timeoutMs = requestTimeoutMs + preferredSeconds(c.req.header('prefer')) * 1_000
    // Nothing moves on the connection meanwhile.
    if (timeoutMs > requestTimeoutMs) serverOf(c)?.timeout(c.req.raw, Math.min(255, timeoutMs / 1_000 + 10))
    return within(work, timeoutMs, timedOut)
  })
  app.route('/', forwardedRoutes(elsewhere))
  app.route('/', userRoutes(options))
  app.route('/', sessionRoutes(options))
  app.route('/', productRoutes(options))
  app.route('/', orderRoutes(options))
  app.route('/', checkoutRoutes(options))
  app.route('/', paymentRoutes(options))
  app.route('/', settlementRoutes(options))
  app.route('/', deadLetterRoutes(options))
  app.route('/', sagaRoutes(options))
  app.route('/', flowRoutes(options))
  app.route('/', healthRoutes(options))
  app.route('/', metricsRoutes(options))
  app.route('/', docsRoutes(options))
  app.on(['GET', 'POST', 'OPTIONS'], '/graphql', async (c) => {
    const call = c.get('call')
    const token = c.req.method === 'POST' ? consistencyTokenOf(c) : undefined
    if (token !== undefined) await awaitChange(call, token, options)
    const response = await graphql(c.req.raw, { call, options, headers: c.req.raw.headers })
    // Yoga refuses a media type without a word.
    if (response.status === 406 || response.status === 415)
      throw new HTTPException(response.status, { message: response.statusText })
    if (development && c.req.method === 'GET' && response.headers.get('content-type')?.startsWith('text/html'))
      response.headers.set('Content-Security-Policy', policyOfGraphiql)
    if (response.headers.get('content-type') === 'text/event-stream') serverOf(c)?.timeout(c.req.raw, streamIdleSeconds)
    if (call.changed.length > 0) response.headers.set('Consistency-Token', consistencyOf(call))
    return response
  })

  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
  })
  app.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: {
      title: 'Bulkhead',
      version: '1',
      description: 'Users, orders and payments: three sealed modules behind one API.',
    },
    servers: [{ url: '/' }],
  })

  const methodsOf = createMethods(app.routes)
  app.notFound((c) => {
    const { method, path } = c.req
    const methods = methodsOf(path)
    if (methods.length === 0 || methods.includes(method))
      return answerProblem(c, new DomainError('not-found', `There is no ${path}.`))
    c.header('Allow', methods.join(', '))
    return answerProblem(c, new DomainError('method-not-allowed', `${path} does not take ${method}.`))
  })
  app.onError((error, c) => {
    const { fault, problem } = toFailure(error)
    if (fault) {
      const { correlationId } = c.get('call').trace
      log.error(
        { error, correlationId, method: c.req.method, path: c.req.path, status: problem.status },
        'a request failed',
      )
    }
    return answerProblem(c, error)
  })
  return app
}
