import { createRoute, z } from '@hono/zod-openapi'
import { DomainError } from '#platform/errors'
import type { BffOptions } from './bff.ts'
import { requireOperator } from './dead-letters.ts'
import { bearer, createRouter, idParameter, problems } from './openapi.ts'

const failure = z.object({ code: z.string(), message: z.string() })

const saga = z
  .object({
    id: z.uuid(),
    module: z.string(),
    name: z.string(),
    status: z.enum(['running', 'completed', 'compensating', 'compensated', 'needs-operator']),
    error: failure.nullable(),
    steps: z.array(
      z.object({
        name: z.string(),
        status: z.string(),
        at: z.iso.datetime().nullable(),
        error: failure.nullable(),
        tries: z.int(),
      }),
    ),
    correlationId: z.string(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .openapi('Saga')

const tags = ['operations']

const list = createRoute({
  method: 'get',
  path: '/ops/sagas',
  tags,
  summary: 'The sagas that wait for an operator',
  security: bearer,
  responses: {
    200: {
      description: 'Sagas whose compensation no retry could finish',
      content: { 'application/json': { schema: z.object({ items: z.array(saga) }) } },
    },
    ...problems(401, 403),
  },
})

const operation = <Verb extends 'retry' | 'skip' | 'compensate'>(verb: Verb, summary: string) =>
  createRoute({
    method: 'post',
    path: `/ops/sagas/{id}/${verb}`,
    tags,
    summary,
    security: bearer,
    request: { params: idParameter },
    responses: {
      202: { description: 'What the saga is now', content: { 'application/json': { schema: saga } } },
      ...problems(400, 401, 403, 404, 409),
    },
  })

const operations = {
  retry: 'Try the compensation that is stuck again',
  skip: 'Take the operator’s word that the stuck step is undone',
  compensate: 'Roll back a saga that is still running',
} as const

export const sagaRoutes = ({ modules }: Pick<BffOptions, 'modules'>) => {
  const hosted = Object.values(modules)
  const ownerOf = async (id: string) => {
    for (const module of hosted) if (await module.sagas.find(id)) return module
    throw new DomainError('not-found', `There is no saga ${id}.`)
  }
  const router = createRouter().openapi(list, async (c) => {
    await requireOperator(c.get('call'))
    const lists = await Promise.all(
      hosted.map(async ({ name, sagas }) => (await sagas.list()).map((item) => ({ module: name, ...item }))),
    )
    return c.json({ items: lists.flat() }, 200)
  })
  for (const verb of ['retry', 'skip', 'compensate'] as const) {
    router.openapi(operation(verb, operations[verb]), async (c) => {
      const call = c.get('call')
      const { userId } = await requireOperator(call)
      const { id } = c.req.valid('param')
      const { name, sagas } = await ownerOf(id)
      return c.json({ module: name, ...(await sagas.operate(call.trace, { id, operation: verb, by: userId })) }, 202)
    })
  }
  return router
}
