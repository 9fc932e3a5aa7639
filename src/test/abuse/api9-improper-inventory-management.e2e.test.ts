import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { openWorld } from './world.ts'

setDefaultTimeout(120_000)

const { app, attacker, client } = await openWorld()

const documented = z
  .object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) })
  .parse((await client.send('GET', '/openapi.json')).body)

/** What is served and is no operation of the API: its documents, its pages and its other language. */
const beside = new Set([
  'GET /openapi.json',
  'GET /asyncapi.json',
  'GET /docs',
  'GET /docs/{asset}',
  'GET /metrics',
  'GET /graphql',
  'POST /graphql',
  'OPTIONS /graphql',
])

const operations = new Set(
  Object.entries(documented.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  ),
)

const served = [
  ...new Set(
    app.app.bff.routes
      .filter(({ method, path }) => method !== 'ALL' && !path.endsWith('*'))
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`),
  ),
]

test('every route that is served is documented, and every one that is documented is served', () => {
  expect(served.length).toBeGreaterThan(20)
  expect(served.filter((route) => !operations.has(route) && !beside.has(route))).toEqual([])
  expect([...operations].filter((operation) => !served.includes(operation))).toEqual([])
})

test('a route that nobody documented would be found', () => {
  expect(['GET /internal', ...served].filter((route) => !operations.has(route) && !beside.has(route))).toEqual([
    'GET /internal',
  ])
})

describe('nothing old, internal or forgotten answers', () => {
  const older = '/v1 /v2 /api /api/v1 /beta /internal /test'
    .split(' ')
    .map((prefix) => `${prefix}/users/${attacker.id}`)
  const forgotten =
    '/debug /debug/vars /actuator /actuator/env /admin /health /status /info /env /console /users /sessions /swagger.json /swagger-ui /api-docs /openapi.yaml /graphiql /playground /graphql/schema /graphql.json /altair /voyager /phpinfo.php /server-status /wp-login.php /ops'
  const guesses = [...older, ...forgotten.split(' ')]
  for (const path of guesses) {
    test(path, async () => {
      for (const token of [undefined, attacker.token]) {
        const { status } = await client.send('GET', path, token === undefined ? {} : { token })
        expect([404, 405]).toContain(status)
      }
    })
  }
})

test('a method that a route does not document is not taken', async () => {
  for (const [path, methods] of Object.entries(documented.paths)) {
    const known = Object.keys(methods).map((method) => method.toUpperCase())
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'].filter((each) => !known.includes(each))) {
      const real = path.replace(/\{\w+\}/, Bun.randomUUIDv7())
      const answer = await client.send(method, real, { token: attacker.token })
      expect([method, path, answer.status]).toEqual([method, path, 405])
      expect(answer.headers.get('allow')?.split(', ')).toEqual(expect.arrayContaining(known))
    }
  }
})
