import { createRoute, z } from '@hono/zod-openapi'
import { DomainError } from '#platform/errors'
import { UndecodableError } from '#platform/messaging/cloud-event'
import type { DeadLetter } from '#platform/messaging/dead-letter'
import type { Keep } from '#platform/messaging/outbox'
import { type Listing, askOthers, hostWith, listAcross, listOf, moduleQuery } from './across.ts'
import type { BffOptions } from './bff.ts'
import { deadLetterExample } from './examples.ts'
import { forOperators } from './access.ts'
import { once } from './once.ts'
import { changed, createRouter, idParameter, problems, repeatable } from './openapi.ts'

const deadLetter = z
  .object({
    id: z.uuid(),
    module: z.string(),
    consumer: z.string(),
    topic: z.string(),
    key: z.string(),
    messageId: z.string().nullable(),
    type: z.string().nullable(),
    sequence: z.int().nullable(),
    code: z.string(),
    error: z.string(),
    attempts: z.int(),
    status: z.enum(['parked', 'waiting', 'queued', 'redriven', 'skipped']),
    parkedAt: z.iso.datetime(),
    resolvedAt: z.iso.datetime().nullable(),
    resolvedBy: z.string().nullable(),
  })
  .openapi('DeadLetter', { example: deadLetterExample })

const tags = ['operations']

const list = createRoute({
  method: 'get',
  path: '/ops/dead-letters',
  tags,
  summary: 'The messages that no consumer could handle',
  ...forOperators,
  request: { query: moduleQuery },
  responses: {
    200: {
      description: 'Parked messages',
      content: { 'application/json': { schema: listOf(deadLetter) } },
    },
    ...problems(400, 401, 403),
  },
})

const resolve = (verb: 'redrive' | 'skip', summary: string) =>
  createRoute({
    method: 'post',
    path: `/ops/dead-letters/{id}/${verb}`,
    tags,
    summary,
    ...forOperators,
    ...repeatable,
    request: { params: idParameter },
    responses: { 202: changed('Done', deadLetter), ...problems(400, 401, 403, 404, 409, 422) },
  })

const resolutions = {
  redrive: 'Handle a parked message again',
  skip: 'Give a parked message up',
} as const

const refuseUndecodable = (error: unknown): never => {
  if (error instanceof UndecodableError) throw new DomainError('undecodable', `${error.message} Skip the dead letter.`)
  throw error
}

const absent = (id: string) => new DomainError('not-found', `There is no dead letter ${id}.`)

export const deadLetterRoutes = (options: Pick<BffOptions, 'modules' | 'elsewhere'>) => {
  const hostOf = (id: string) => hostWith(options, (module) => module.deadLetters.find(id))
  const router = createRouter().openapi(list, async (c) => {
    const own: Listing<typeof deadLetter>['own'] = async ({ name, deadLetters }) =>
      (await deadLetters.list()).map((listed) => ({ module: name, ...listed }))
    return c.json(await listAcross(c, options, { only: c.req.valid('query').module, item: deadLetter, own }), 200)
  })
  for (const verb of ['redrive', 'skip'] as const) {
    router.openapi(resolve(verb, resolutions[verb]), async (c) => {
      const { call, identity } = c.var
      const input = { id: c.req.valid('param').id }
      const module = await hostOf(input.id)
      if (!module) return (await askOthers(c, options.elsewhere, absent(input.id))) as never
      const run = (keep?: Keep) =>
        module.deadLetters[verb](input.id, { by: identity.userId, ...(keep && { keep }) }).catch(refuseUndecodable)
      const answer = (letter: DeadLetter) => ({
        status: 202 as const,
        body: { module: module.name, ...letter },
        // What the handler projects is there already; what else follows from it nobody knows yet.
        changed: [{ module: 'users', thing: 'user', id: identity.userId, version: 0 }],
      })
      return once(c, { call, identity, input, module, run, answer }) as never
    })
  }
  return router
}
