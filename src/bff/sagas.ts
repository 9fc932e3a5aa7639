import { createRoute, z } from '@hono/zod-openapi'
import { DomainError } from '#platform/errors'
import type { Keep } from '#platform/messaging/outbox'
import type { SagaSummary } from '#platform/saga/operator'
import { type Listing, askOthers, hostWith, listAcross, listOf, moduleQuery } from './across.ts'
import type { BffOptions } from './bff.ts'
import { sagaExample } from './examples.ts'
import { forOperators } from './access.ts'
import { once } from './once.ts'
import { changed, createRouter, idParameter, problems, repeatable } from './openapi.ts'

const failure = z.object({ code: z.string(), message: z.string() })

const saga = z
  .object({
    id: z.uuid(),
    module: z.string(),
    name: z.string(),
    status: z.enum(['running', 'completed', 'compensating', 'compensated', 'needs-operator']),
    error: failure.nullable(),
    stuckAt: z.string().nullable(),
    steps: z.array(
      z.object({
        name: z.string(),
        status: z.string(),
        at: z.iso.datetime().nullable(),
        error: failure.nullable(),
        tries: z.int(),
      }),
    ),
    version: z.int().positive(),
    correlationId: z.string(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .openapi('Saga', { example: sagaExample })

const tags = ['operations']

const list = createRoute({
  method: 'get',
  path: '/ops/sagas',
  tags,
  summary: 'The sagas that wait for an operator',
  ...forOperators,
  request: { query: moduleQuery },
  responses: {
    200: {
      description: 'Sagas whose compensation no retry could finish',
      content: { 'application/json': { schema: listOf(saga) } },
    },
    ...problems(400, 401, 403),
  },
})

const operation = <Verb extends 'retry' | 'skip' | 'compensate'>(verb: Verb, summary: string) =>
  createRoute({
    method: 'post',
    path: `/ops/sagas/{id}/${verb}`,
    tags,
    summary,
    ...forOperators,
    ...repeatable,
    request: { params: idParameter },
    responses: { 202: changed('What the saga is now', saga), ...problems(400, 401, 403, 404, 409, 422) },
  })

const operations = {
  retry: 'Try the compensation that is stuck again',
  skip: 'Take the operator’s word that the stuck step is undone',
  compensate: 'Roll back a saga that is still running',
} as const

const absent = (id: string) => new DomainError('not-found', `There is no saga ${id}.`)

export const sagaRoutes = (options: Pick<BffOptions, 'modules' | 'elsewhere'>) => {
  const hostOf = (id: string) => hostWith(options, (module) => module.sagas.find(id))
  const router = createRouter().openapi(list, async (c) => {
    const own: Listing<typeof saga>['own'] = async ({ name, sagas }) =>
      (await sagas.list()).map((listed) => ({ module: name, ...listed }))
    return c.json(await listAcross(c, options, { only: c.req.valid('query').module, item: saga, own }), 200)
  })
  for (const verb of ['retry', 'skip', 'compensate'] as const) {
    router.openapi(operation(verb, operations[verb]), async (c) => {
      const { call, identity } = c.var
      const input = { id: c.req.valid('param').id }
      const module = await hostOf(input.id)
      if (!module) return (await askOthers(c, options.elsewhere, absent(input.id))) as never
      const asked = { ...input, operation: verb, by: identity.userId }
      const run = (keep?: Keep) => module.sagas.operate(call.trace, asked, keep)
      const answer = (saga: SagaSummary) => ({
        status: 202 as const,
        body: { module: module.name, ...saga },
        // A saga is kept as a snapshot of its own name.
        changed: [{ module: module.name, thing: saga.name, id: saga.id, version: saga.version }],
      })
      return once(c, { call, identity, input, module, run, answer }) as never
    })
  }
  return router
}
