import type { Context as HonoContext } from 'hono'
import { matchedRoutes } from 'hono/route'
import type { GraphQLSchema } from 'graphql'
import { createRoute, z } from '@hono/zod-openapi'
import { isLoopback } from '#platform/addresses'
import { DomainError } from '#platform/errors'
import { type Observe, createHistogram } from '#platform/metrics'
import type { OpenSpan } from '#platform/tracing'
import { peerOf } from './address.ts'
import type { BffOptions } from './bff.ts'
import { requireOperator } from './access.ts'
import type { Env } from './call.ts'
import { bearer, createRouter, problems } from './openapi.ts'

const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

const requests = createHistogram({
  name: 'bulkhead_http_request_duration_seconds',
  help: 'From a request to its answer, by the template of its route',
  buckets,
})

const commands = createHistogram({
  name: 'bulkhead_command_duration_seconds',
  help: 'What changes something, by its route or its mutation; done, refused or failed',
  buckets,
})

const observers = new Map<string, Map<number, Observe>>()

const observerOf = (method: string, route: string, status: number): Observe => {
  const request = requests({ method, route, status: String(status) })
  const isCommand = method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS'
  if (!isCommand || route === '/graphql' || route === nowhere) return request
  const outcome = status < 400 ? 'done' : status < 500 ? 'refused' : 'failed'
  const command = commands({ command: `${method} ${route}`, outcome })
  return (seconds) => {
    request(seconds)
    command(seconds)
  }
}

const nowhere = 'none'

/** Only what the router knows becomes a label: anybody may make up paths and methods. */
const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Counts one request that has been answered. */
export const observeRequest = (c: HonoContext<Env>, startedAt: number): void => {
  const path = matchedRoutes(c).at(-1)?.path ?? nowhere
  const method = methods.has(c.req.method) ? c.req.method : 'other'
  const name = `${method} ${path}`
  let byStatus = observers.get(name)
  if (!byStatus) observers.set(name, (byStatus = new Map()))
  let observe = byStatus.get(c.res.status)
  if (!observe) {
    observe = observerOf(method, path.includes('*') ? nowhere : path, c.res.status)
    byStatus.set(c.res.status, observe)
  }
  observe((performance.now() - startedAt) / 1_000)
}

/** Ends the span of a request that has been answered, under the name of its route. */
export const endSpan = (c: HonoContext<Env>, span: OpenSpan): void => {
  const route = matchedRoutes(c).at(-1)?.path ?? nowhere
  const { status } = c.res
  span.rename(`${c.req.method} ${route}`)
  span.set({ 'http.request.method': c.req.method, 'http.route': route, 'http.response.status_code': status })
  span.end(status >= 500 ? new Error('the request failed') : undefined)
}

/** Counts the mutations of a schema by their names. */
export const observeMutations = (schema: GraphQLSchema): void => {
  for (const field of Object.values(schema.getMutationType()?.getFields() ?? {})) {
    const { name, resolve } = field
    if (!resolve) continue
    const observe = (outcome: string) => commands({ command: name, outcome })
    const [done, refused, failed] = [observe('done'), observe('refused'), observe('failed')]
    field.resolve = async (...asked) => {
      const startedAt = performance.now()
      let ended = failed
      try {
        const result: unknown = await resolve(...asked)
        ended = done
        return result
      } catch (error) {
        if (error instanceof DomainError) ended = refused
        throw error
      } finally {
        ended((performance.now() - startedAt) / 1_000)
      }
    }
  }
}

const scraping = createRoute({
  method: 'get',
  path: '/metrics',
  tags: ['health'],
  summary: 'The metrics of this process, for Prometheus; to operators, and without a token from the loopback address',
  security: [{}, ...bearer],
  responses: {
    200: {
      description: 'Prometheus text',
      content: { 'text/plain; version=0.0.4; charset=utf-8': { schema: z.string() } },
    },
    ...problems(401, 403),
  },
})

/** Who speaks to this process; what a request says of itself (`X-Forwarded-For`) is not believed. */
const isLocal = (c: HonoContext): boolean => isLoopback(peerOf(c) ?? '')

export const metricsRoutes = ({ scrape }: Pick<BffOptions, 'scrape'>) =>
  createRouter().openapi(scraping, async (c) => {
    if (!isLocal(c)) await requireOperator(c.get('call'))
    return c.text(await scrape(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }) as never
  })
