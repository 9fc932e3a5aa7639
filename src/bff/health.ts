import { createRoute, z } from '@hono/zod-openapi'
import type { BffOptions } from './bff.ts'
import { createRouter } from './openapi.ts'

const health = z
  .object({ status: z.enum(['ok', 'not-ready']), notReady: z.array(z.string()).optional() })
  .openapi('Health', { example: { status: 'ok' } })

const answer = (description: string) => ({ description, content: { 'application/json': { schema: health } } })

const livez = createRoute({
  method: 'get',
  path: '/livez',
  tags: ['health'],
  summary: 'Whether the process lives',
  responses: { 200: answer('It does') },
})

const readyz = createRoute({
  method: 'get',
  path: '/readyz',
  tags: ['health'],
  summary: 'Whether the process can serve',
  responses: { 200: answer('It can'), 503: answer('It cannot; notReady says why') },
})

export const healthRoutes = ({ notReady }: Pick<BffOptions, 'notReady'>) =>
  createRouter()
    .openapi(livez, (c) => c.json({ status: 'ok' as const }, 200))
    .openapi(readyz, async (c) => {
      const found = await notReady()
      return found.length === 0
        ? c.json({ status: 'ok' as const }, 200)
        : c.json({ status: 'not-ready' as const, notReady: found }, 503)
    })
