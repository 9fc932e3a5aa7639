import { describe, expect, test } from 'bun:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { z } from 'zod'
import { createFaces } from '../test/faces.ts'
import { misfits, openapiDocument, schemaOf, unfit } from '../test/openapi.ts'

const { bff } = await createFaces()
const read: unknown = await (await bff.request('/openapi.json')).json()
const document = openapiDocument.parse(read)

/** Every route, and every status that it answers with. */
const routes: Record<string, number[]> = {
  'POST /users': [201, 400, 408, 409, 413, 415, 429, 503],
  'GET /users/{id}': [200, 304, 400, 401, 404, 503],
  'PATCH /users/{id}': [200, 400, 401, 404, 408, 409, 413, 415, 503],
  'DELETE /users/{id}': [202, 400, 401, 404, 409, 503],
  'POST /sessions': [201, 400, 401, 408, 413, 415, 429, 503],
  'DELETE /sessions/current': [204, 401, 503],
  'GET /products': [200, 400, 401, 503],
  'PUT /products/{sku}': [200, 400, 401, 403, 408, 413, 415, 503],
  'POST /products/{sku}/stock': [200, 400, 401, 403, 404, 408, 409, 413, 415, 422, 503],
  'POST /orders': [200, 202, 400, 401, 403, 408, 409, 413, 415, 422, 503],
  'GET /orders/{id}': [200, 304, 400, 401, 404, 503],
  'GET /orders': [200, 400, 401, 503],
  'POST /orders/{id}/cancellation': [202, 400, 401, 404, 409, 422, 503],
  'POST /checkouts': [200, 202, 400, 401, 403, 408, 409, 413, 415, 422, 503],
  'GET /checkouts/{id}': [200, 304, 400, 401, 404, 503],
  'GET /payments/{id}': [200, 304, 400, 401, 404, 503],
  'POST /payments/{id}/refund': [202, 400, 401, 403, 404, 409, 422, 503],
  'POST /settlements': [202, 400, 401, 403, 408, 413, 415, 422, 503],
  'GET /settlements/{id}': [200, 304, 400, 401, 403, 404, 503],
  'GET /ops/dead-letters': [200, 400, 401, 403, 503],
  'POST /ops/dead-letters/{id}/redrive': [202, 400, 401, 403, 404, 409, 422, 503],
  'POST /ops/dead-letters/{id}/skip': [202, 400, 401, 403, 404, 409, 422, 503],
  'GET /ops/sagas': [200, 400, 401, 403, 503],
  'POST /ops/sagas/{id}/retry': [202, 400, 401, 403, 404, 409, 422, 503],
  'POST /ops/sagas/{id}/skip': [202, 400, 401, 403, 404, 409, 422, 503],
  'POST /ops/sagas/{id}/compensate': [202, 400, 401, 403, 404, 409, 422, 503],
  'GET /ops/flows/{correlationId}': [200, 400, 401, 403, 404, 503],
  'GET /ops/flows/{correlationId}/parts': [200, 400, 401, 403, 503],
  'GET /metrics': [200, 401, 403, 503],
  'GET /livez': [200],
  'GET /readyz': [200, 503],
}

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
)

describe('the document', () => {
  const validity = (text: string) => new Validator().validate(JSON.parse(text) as Record<string, unknown>)

  test('is OpenAPI 3.1, by the schema of OpenAPI', async () => {
    expect(document.openapi).toStartWith('3.1')
    expect(await validity(JSON.stringify(read))).toMatchObject({ valid: true })
  })

  test('is not by that schema when something in it is wrong', async () => {
    const wrong = JSON.stringify(read).replace('"in":"header"', '"in":"nowhere"')
    expect(await validity(wrong)).toMatchObject({ valid: false })
  })

  test('has the routes of this API, each with its statuses', () => {
    const documented = operations.map(({ name, operation }) => [name, Object.keys(operation.responses).map(Number)])
    expect(Object.fromEntries(documented)).toMatchObject(routes)
  })

  test('says of every refusal that it is a problem', () => {
    for (const { name, operation } of operations.filter(({ name }) => name !== 'GET /readyz')) {
      for (const [status, { content }] of Object.entries(operation.responses)) {
        if (Number(status) < 400) continue
        expect([name, status, Object.keys(content ?? {})]).toEqual([name, status, ['application/problem+json']])
      }
    }
  })

  test('says of every command which headers it answers with, and of those that make something where it is', () => {
    const making = ['POST /users', 'POST /orders', 'POST /checkouts', 'POST /settlements']
    const commands = operations.filter(({ name }) => !name.startsWith('GET '))
    expect(commands.length).toBeGreaterThan(making.length)
    for (const { name, operation } of commands) {
      const done = [202, 201, 200, 204].flatMap((status) => operation.responses[status] ?? []).at(0)
      const headers = ['Consistency-Token', 'Correlation-Id', ...(making.includes(name) ? ['Location'] : [])]
      expect([name, ...Object.keys(done?.headers ?? {})]).toEqual([name, ...headers])
    }
  })

  test('says of every POST of the signed-in that it takes an Idempotency-Key, and of their reads that they wait', () => {
    const taking = (header: string) =>
      operations
        .filter(({ operation }) => operation.parameters?.some(({ name }) => name === header))
        .map(({ name }) => name)
    const posts = operations.map(({ name }) => name).filter((name) => name.startsWith('POST '))
    const anybodys = ['POST /users', 'POST /sessions']
    expect(taking('Idempotency-Key').toSorted()).toEqual(posts.filter((name) => !anybodys.includes(name)).toSorted())
    const things = [
      'users/{id}',
      'products',
      'orders/{id}',
      'orders',
      'checkouts/{id}',
      'payments/{id}',
      'settlements/{id}',
    ]
    const reads = things.map((thing) => `GET /${thing}`).toSorted()
    expect(taking('Consistency-Token').toSorted()).toEqual(reads)
    expect(taking('If-None-Match').toSorted()).toEqual(reads.filter((read) => read.endsWith('{id}')))
    expect(taking('Prefer').toSorted()).toEqual(['POST /checkouts', 'POST /orders'])
  })

  const fields: Record<string, string> = {
    User: 'id name email status version createdAt',
    Session: 'token expiresAt userId',
    Product: 'sku name price stock',
    Order: 'id userId status reason lines total paymentId version createdAt',
    OrderPage: 'items nextCursor',
    Checkout: 'id userId status orderId paymentId error steps',
    Payment: 'id orderId userId status amount version createdAt',
    Settlement: 'id status from to tasks totals',
  }
  for (const [name, expected] of Object.entries(fields)) {
    test(`has a body ${name} with the fields of the interface, each of them always there`, () => {
      const body = z
        .object({ properties: z.record(z.string(), z.unknown()), required: z.array(z.string()) })
        .parse(document.components.schemas[name])
      expect(Object.keys(body.properties).toSorted()).toEqual(expected.split(' ').toSorted())
      expect(body.required.toSorted()).toEqual(expected.split(' ').toSorted())
    })
  }

  const statuses: [schema: string, path: string[], values: string[]][] = [
    ['User', ['properties', 'status', 'enum'], ['active', 'closed']],
    ['Order', ['properties', 'status', 'enum'], ['pending', 'confirmed', 'cancelled']],
    ['Payment', ['properties', 'status', 'enum'], ['pending', 'captured', 'declined', 'refunded']],
    ['Settlement', ['properties', 'status', 'enum'], ['running', 'completed', 'failed']],
    [
      'Checkout',
      ['properties', 'status', 'enum'],
      ['running', 'completed', 'compensating', 'compensated', 'needs-operator'],
    ],
    [
      'Checkout',
      ['properties', 'steps', 'items', 'properties', 'name', 'enum'],
      ['reserve-stock', 'create-order', 'charge-payment', 'confirm-order'],
    ],
    [
      'Checkout',
      ['properties', 'steps', 'items', 'properties', 'status', 'enum'],
      ['pending', 'running', 'done', 'failed', 'compensated'],
    ],
  ]
  for (const [name, path, values] of statuses) {
    test(`has the values of the interface at ${name}.${path.join('.')}`, () => {
      let at: unknown = document.components.schemas[name]
      for (const part of path) at = z.record(z.string(), z.unknown()).parse(at)[part]
      expect(at).toEqual(values)
    })
  }

  test('shows of every named body an example, which fits it', () => {
    const shown = Object.entries(document.components.schemas).map(([name, schema]) => {
      const { example } = z.object({ example: z.unknown() }).parse(schema)
      expect([name, example]).toEqual([name, expect.anything()])
      return { name, misfits: misfits(document, schemaOf(document, name), example, name) }
    })
    expect(shown.length).toBeGreaterThan(10)
    expect(shown).toEqual(shown.map(({ name }) => ({ name, misfits: [] })))
  })

  test('names its own schemas only', () => {
    const references = [...JSON.stringify(read).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)]
    expect(references.length).toBeGreaterThan(0)
    for (const [, name = ''] of references) expect(document.components.schemas).toHaveProperty(name)
  })
})

describe('the check of answers against the document sees', () => {
  const user = {
    id: '0198c0de-0000-7000-8000-000000000001',
    name: 'Ada',
    email: null,
    status: 'active',
    version: 1,
    createdAt: '2026-01-31T12:00:00.000Z',
  }
  const answer = (body: unknown, status = 200, type = 'application/json') =>
    unfit(document, {
      method: 'GET',
      path: `/users/${user.id}`,
      status,
      headers: new Headers({ 'content-type': type, 'correlation-id': 'story-9', etag: '"1"' }),
      body,
    })

  test('nothing where an answer fits', () => {
    expect(answer(user)).toEqual([])
  })

  const misfits: Record<string, unknown> = {
    'a field that is missing': { ...user, name: undefined },
    'a field more': { ...user, passwordHash: 'secret' },
    'a field of another type': { ...user, version: '1' },
    'a version that is none': { ...user, version: 0 },
    'a status that there is not': { ...user, status: 'gone' },
    'an id that is none': { ...user, id: '1' },
    'a time that is none': { ...user, createdAt: 'yesterday' },
    'a list': [user],
  }
  for (const [name, body] of Object.entries(misfits)) {
    test(name, () => expect(answer(JSON.parse(JSON.stringify(body)))).toHaveLength(1))
  }

  test('a status or a media type that is not documented', () => {
    expect(answer(user, 418)).toEqual(['the status 418 is not documented'])
    expect(answer(user, 200, 'text/plain')).toEqual(['the content type text/plain is not documented'])
  })

  test('a header that is missing', () => {
    const sent = { method: 'POST', path: '/users', status: 201, headers: new Headers(), body: user }
    expect(unfit(document, sent)).toContain('the header Consistency-Token is missing')
  })
})
