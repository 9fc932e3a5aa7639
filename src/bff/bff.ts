import type { Context as OrdersContext } from '#modules/orders'
import type { Context as PaymentsContext } from '#modules/payments'
import type { Context as UsersContext } from '#modules/users'
import { DomainError, OverloadedError } from '#platform/errors'
import type { Log } from '#platform/log'
import type { AnyMessageType } from '#platform/messaging/catalogue'
import type { Trace } from '#platform/messaging/message'
import type { Keep } from '#platform/messaging/outbox'
import type { HostedModule } from '#platform/module'
import type { SnapshotReader } from '#platform/snapshot-reader'
import { bodyLimit } from 'hono/body-limit'
import { HTTPException } from 'hono/http-exception'
import { checkoutRoutes } from './checkouts.ts'
import { deadLetterRoutes } from './dead-letters.ts'
import { docsRoutes } from './docs.ts'
import { type Elsewhere, forwardedRoutes } from './forward.ts'
import { flowRoutes } from './flows.ts'
import { createGraphqlHandler } from './graphql/http.ts'
import { createGraphql } from './graphql/yoga.ts'
import { healthRoutes } from './health.ts'
import type { Tokens } from './identity.ts'
import { answerProblem, createRouter } from './openapi.ts'
import { toFailure } from './problems.ts'
import { awaitConsistencyOf, consistencyOf, createCall } from './call.ts'
import { endSpan, metricsRoutes, observeRequest } from './metrics.ts'
import { orderRoutes } from './orders.ts'
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
  /** Serve GraphiQL. */
  development: boolean
}

export type Bff = ReturnType<typeof createBff>

/** Bodies larger than this are refused before they are read. */
const maxBodyBytes = 100_000

/** Whoever watches over the process is answered also when it has too much to do. */
const neverRefused = new Set(['/livez', '/readyz', '/metrics'])

const statesFittingLength = (headers: Headers): boolean =>
  !headers.has('transfer-encoding') && Number(headers.get('content-length') ?? 0) <= maxBodyBytes

/** The HTTP and GraphQL faces of the process: the only place that knows either, and the only one that joins modules. */
export const createBff = (options: BffOptions) => {
  const { log, development, maxRequestsInFlight, elsewhere } = options
  const graphql = createGraphqlHandler(createGraphql({ graphiql: development, log, elsewhere }))
  const app = createRouter()

  app.use(async (c, next) => {
    const startedAt = performance.now()
    const call = createCall(c, options)
    c.set('call', call)
    await next()
    observeRequest(c, startedAt)
    if (call.span) endSpan(c, call.span)
    // Not by c.header, which copies a finished answer with its body as a stream.
    c.res.headers.set('Correlation-Id', call.trace.correlationId)
  })
  let inFlight = 0
  app.use(async (c, next) => {
    if (neverRefused.has(c.req.path)) return next()
    if (inFlight >= maxRequestsInFlight) throw new OverloadedError('Too many requests at once.')
    inFlight += 1
    try {
      await next()
    } finally {
      inFlight -= 1
    }
  })
  const limitBody = bodyLimit({
    maxSize: maxBodyBytes,
    onError: () => {
      throw new DomainError('too-large', `The body must have at most ${maxBodyBytes} bytes.`)
    },
  })
  // A body of a stated length is judged by it: merely looking at the stream makes Bun read every body as one.
  app.use((c, next) => (statesFittingLength(c.req.raw.headers) ? next() : limitBody(c, next)))
  app.route('/', forwardedRoutes(elsewhere))
  app.get('*', async (c, next) => {
    await awaitConsistencyOf(c, options)
    await next()
  })

  app.route('/', userRoutes())
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
    await awaitConsistencyOf(c, options)
    const call = c.get('call')
    const response = await graphql(c.req.raw, { call, options, headers: c.req.raw.headers })
    // Yoga refuses a media type without a word.
    if (response.status === 406 || response.status === 415)
      throw new HTTPException(response.status, { message: response.statusText })
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

  app.notFound((c) => answerProblem(c, new DomainError('not-found', `There is no ${c.req.method} ${c.req.path}.`)))
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
