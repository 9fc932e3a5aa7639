import { createRoute, z } from '@hono/zod-openapi'
import { DomainError } from '#platform/errors'
import { UndecodableError } from '#platform/messaging/cloud-event'
import type { DeadLetters } from '#platform/messaging/dead-letter'
import type { BffOptions } from './bff.ts'
import type { Identity } from './identity.ts'
import { bearer, createRouter, idParameter, problems } from './openapi.ts'
import type { Call } from './call.ts'

const deadLetter = z
  .object({
    id: z.uuid(),
    module: z.string(),
    consumer: z.string(),
    topic: z.string(),
    key: z.string(),
    messageId: z.string().nullable(),
    type: z.string().nullable(),
    code: z.string(),
    error: z.string(),
    attempts: z.int(),
    status: z.enum(['parked', 'redriven', 'skipped']),
    parkedAt: z.iso.datetime(),
    resolvedAt: z.iso.datetime().nullable(),
    resolvedBy: z.string().nullable(),
  })
  .openapi('DeadLetter')

const tags = ['operations']

const list = createRoute({
  method: 'get',
  path: '/ops/dead-letters',
  tags,
  summary: 'The messages that no consumer could handle',
  security: bearer,
  responses: {
    200: {
      description: 'Parked messages',
      content: { 'application/json': { schema: z.object({ items: z.array(deadLetter) }) } },
    },
    ...problems(401, 403),
  },
})

const resolve = (verb: 'redrive' | 'skip', summary: string) =>
  createRoute({
    method: 'post',
    path: `/ops/dead-letters/{id}/${verb}`,
    tags,
    summary,
    security: bearer,
    request: { params: idParameter },
    responses: {
      202: { description: 'Done', content: { 'application/json': { schema: deadLetter } } },
      ...problems(400, 401, 403, 404, 409),
    },
  })

/** @throws DomainError `forbidden` */
export const refuseCustomer = ({ role }: Identity): void => {
  if (role !== 'operator') throw new DomainError('forbidden', 'Only an operator may do this.')
}

/** The signed-in operator. @throws DomainError `unauthenticated`, `forbidden` */
export const requireOperator = async (call: Call): Promise<Identity> => {
  const identity = await call.signedIn()
  refuseCustomer(identity)
  return identity
}

const refuseUndecodable = (error: unknown): never => {
  if (error instanceof UndecodableError) throw new DomainError('undecodable', `${error.message} Skip the dead letter.`)
  throw error
}

export const deadLetterRoutes = ({ modules }: Pick<BffOptions, 'modules'>) => {
  const hosted = Object.values(modules)
  const ownerOf = async (id: string) => {
    for (const { name, deadLetters } of hosted) {
      if (await deadLetters.find(id)) return { name, deadLetters }
    }
    throw new DomainError('not-found', `There is no dead letter ${id}.`)
  }
  const answer = async (id: string, work: (deadLetters: DeadLetters) => ReturnType<DeadLetters['skip']>) => {
    const { name, deadLetters } = await ownerOf(id)
    return { module: name, ...(await work(deadLetters)) }
  }
  return createRouter()
    .openapi(list, async (c) => {
      await requireOperator(c.get('call'))
      const lists = await Promise.all(
        hosted.map(async ({ name, deadLetters }) =>
          (await deadLetters.list()).map((item) => ({ module: name, ...item })),
        ),
      )
      return c.json({ items: lists.flat() }, 200)
    })
    .openapi(resolve('redrive', 'Handle a parked message again'), async (c) => {
      const { userId: by } = await requireOperator(c.get('call'))
      const { id } = c.req.valid('param')
      return c.json(await answer(id, (deadLetters) => deadLetters.redrive(id, by).catch(refuseUndecodable)), 202)
    })
    .openapi(resolve('skip', 'Give a parked message up'), async (c) => {
      const { userId: by } = await requireOperator(c.get('call'))
      const { id } = c.req.valid('param')
      return c.json(await answer(id, (deadLetters) => deadLetters.skip(id, by)), 202)
    })
}
