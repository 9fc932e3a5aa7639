import { Hono } from 'hono'
import { asyncapiDocument } from './asyncapi.ts'
import type { BffOptions } from './bff.ts'
import { policyOfPages } from './headers.ts'

const page = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Bulkhead API</title>
    <link rel="stylesheet" href="/docs/swagger-ui.css" />
  </head>
  <body>
    <p><a href="/asyncapi.json">The messages (AsyncAPI)</a></p>
    <div id="api"></div>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>`

const start = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#api', deepLinking: true, persistAuthorization: true })`

const assets = new Map([
  ['swagger-ui.css', 'text/css; charset=utf-8'],
  ['swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
])

/** The API page, with its script served from here, and the catalogue of the messages. */
export const docsRoutes = ({ messages }: Pick<BffOptions, 'messages'>) => {
  let asyncapi: string | undefined
  return (
    new Hono()
      .get('/asyncapi.json', (c) => {
        asyncapi ??= JSON.stringify(asyncapiDocument(messages))
        return c.body(asyncapi, 200, { 'content-type': 'application/json' })
      })
      .get('/docs', (c) => c.html(page, 200, { 'content-security-policy': policyOfPages }))
      // One route for all: a fixed path beside a parameter makes Hono use its slow router for every request of the process.
      .get('/docs/:asset', async (c) => {
        const name = c.req.param('asset')
        if (name === 'start.js') return c.body(start, 200, { 'content-type': 'text/javascript; charset=utf-8' })
        const type = assets.get(name)
        if (!type) return c.notFound()
        const file = Bun.file(new URL(import.meta.resolve(`swagger-ui-dist/${name}`)))
        return c.body(await file.arrayBuffer(), 200, { 'content-type': type, 'cache-control': 'public, max-age=86400' })
      })
  )
}
