import { z } from 'zod'

const value = z.object({ stringValue: z.string().optional(), intValue: z.coerce.number().optional() })

const span = z.object({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
  attributes: z.array(z.object({ key: z.string(), value })),
})

const batch = z.object({
  resourceSpans: z.array(z.object({ scopeSpans: z.array(z.object({ spans: z.array(span) })) })),
})

export type ReceivedSpan = {
  traceId: string
  id: string
  parentId: string | undefined
  name: string
  attributes: Record<string, string | number | undefined>
}

/** Takes traces by OTLP over HTTP in JSON, and keeps their spans. */
export const otlpReceiver = () => {
  const spans: ReceivedSpan[] = []
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    routes: {
      '/v1/traces': {
        POST: async (request) => {
          const { resourceSpans } = batch.parse(await request.json())
          for (const found of resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans))) {
            const attributes = found.attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue])
            const { traceId, spanId: id, parentSpanId: parentId, name } = found
            spans.push({ traceId, id, parentId, name, attributes: Object.fromEntries(attributes) })
          }
          return Response.json({})
        },
      },
    },
    fetch: () => new Response('not found', { status: 404 }),
  })
  return { url: server.url.href.replace(/\/$/, ''), spans, stop: () => server.stop(true) }
}
