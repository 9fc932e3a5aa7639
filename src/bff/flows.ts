import { createRoute, z } from '@hono/zod-openapi'
import { DomainError, ElsewhereError } from '#platform/errors'
import { listAcross, listOf, moduleQuery } from './across.ts'
import type { BffOptions } from './bff.ts'
import { forOperators } from './access.ts'
import { flowExample, flowNodeExample, flowPartExample } from './examples.ts'
import { type FlowNode, joinFlow } from './flow-tree.ts'
import type { Incoming } from './forward.ts'
import { createRouter, problems } from './openapi.ts'
import type { ModuleName } from './owners.ts'

const node: z.ZodType<FlowNode> = z
  .object({
    kind: z.enum(['request', 'message', 'handling', 'saga', 'step', 'timer', 'call']),
    id: z.string(),
    name: z.string(),
    module: z.string().nullable(),
    at: z.string().nullable(),
    outcome: z.string(),
    detail: z.string().nullable(),
    children: z.array(z.lazy(() => node)).openapi({ type: 'array', items: { $ref: '#/components/schemas/FlowNode' } }),
  })
  .openapi('FlowNode', { example: flowNodeExample })

const flow = z
  .object({
    correlationId: z.string(),
    outcome: z.enum(['settled', 'under-way', 'held']),
    truncated: z.boolean(),
    children: z.array(node),
    missing: z.array(z.object({ module: z.string(), code: z.string(), detail: z.string() })).optional(),
  })
  .openapi('Flow', { example: flowExample })

const told = {
  id: z.string(),
  type: z.string(),
  topic: z.string(),
  key: z.string(),
  causationId: z.string(),
  at: z.string(),
}
const message = z.object({ ...told, state: z.enum(['waiting', 'sent']) })

const handling = z.object({
  consumer: z.string(),
  messageId: z.string(),
  at: z.string(),
  outcome: z.enum(['applied', 'parked', 'waiting', 'queued', 'redriven', 'skipped']),
  held: z.object({ ...told, source: z.string(), error: z.string() }).nullable(),
})

const timer = z.object({
  kind: z.string(),
  key: z.string(),
  isCall: z.boolean(),
  causationId: z.string(),
  setAt: z.string(),
  at: z.string(),
  outcome: z.enum(['waiting', 'fired', 'cancelled']),
  attempts: z.int(),
  emitted: z.array(z.string()),
})

const transition = z.object({
  sagaId: z.string(),
  name: z.string(),
  version: z.int(),
  causationId: z.string().nullable(),
  at: z.string(),
  status: z.enum(['running', 'completed', 'compensating', 'compensated', 'needs-operator']),
  heard: z.array(z.object({ step: z.string(), outcome: z.string(), detail: z.string().nullable() })),
})

/** What one module knows of a story, as one process tells it to another. */
const flowPart = z
  .object({
    module: z.string(),
    consumers: z.array(z.object({ name: z.string(), topic: z.string(), types: z.array(z.string()) })),
    messages: z.array(message),
    handlings: z.array(handling),
    timers: z.array(timer),
    transitions: z.array(transition),
    truncated: z.boolean(),
  })
  .openapi('FlowPart', { example: flowPartExample })

const tags = ['operations']

const correlationId = z.object({
  correlationId: z
    .string()
    .max(128)
    .openapi({ param: { name: 'correlationId', in: 'path' }, example: '0198c0de-0000-7000-8000-000000000001' }),
})

const read = createRoute({
  method: 'get',
  path: '/ops/flows/{correlationId}',
  tags,
  summary: 'The story of one request, across modules and processes, as a tree',
  ...forOperators,
  request: { params: correlationId },
  responses: {
    200: { description: 'What the request led to', content: { 'application/json': { schema: flow } } },
    ...problems(400, 401, 403, 404),
  },
})

const readParts = createRoute({
  method: 'get',
  path: '/ops/flows/{correlationId}/parts',
  tags,
  summary: 'What each module knows of a story, or one of them alone',
  ...forOperators,
  request: {
    params: correlationId,
    query: moduleQuery,
  },
  responses: {
    200: {
      description: 'What the tree is joined from',
      content: { 'application/json': { schema: listOf(flowPart) } },
    },
    ...problems(400, 401, 403),
  },
})

export const flowRoutes = (options: Pick<BffOptions, 'modules' | 'elsewhere'>) => {
  /** Asks every module, or one of them, wherever it is hosted. */
  const partsOf = (incoming: Incoming, correlationId: string, only?: ModuleName) =>
    listAcross(incoming, options, {
      only,
      item: flowPart,
      // No story has a NUL in its name, and Postgres takes none in a text.
      own: async ({ flow }) => [await flow(correlationId.replaceAll('\0', '\ufffd'))],
      path: `/ops/flows/${encodeURIComponent(correlationId)}/parts`,
    })
  return createRouter()
    .openapi(read, async (c) => {
      const { correlationId } = c.req.valid('param')
      const { items, missing } = await partsOf(c, correlationId)
      const joined = joinFlow(correlationId, items)
      if (joined) return c.json({ ...joined, ...(missing && { missing }) }, 200)
      const [unasked] = missing ?? []
      if (unasked) throw new ElsewhereError(unasked.code, unasked.detail)
      throw new DomainError('not-found', `No module knows of a request with the Correlation-Id ${correlationId}.`)
    })
    .openapi(readParts, async (c) =>
      c.json(await partsOf(c, c.req.valid('param').correlationId, c.req.valid('query').module), 200),
    )
}
