import { describe, expect, test } from 'bun:test'
import { OverloadedError } from '#platform/errors'
import { eventually } from '../test/eventually.ts'
import { createFaces, secret } from '../test/faces.ts'
import { door } from '../test/mechanism.ts'

const ada = { name: 'Ada', email: 'ada@example.com', password: 'correct horse battery staple' }

describe('a fault that nobody foresaw', () => {
  test('is answered over HTTP without a word of it, and logged under the name of the story', async () => {
    const { post, logged } = await createFaces()
    const response = await post('/users', ada)
    expect(response.status).toBe(500)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(response.headers.get('correlation-id')).toBe('story-9')
    const text = await response.text()
    expect(JSON.parse(text)).toMatchObject({ code: 'internal', status: 500 })
    expect(text).not.toMatch(/password_hash|\.ts|stack/)
    expect(logged).toEqual([
      { fields: expect.objectContaining({ correlationId: 'story-9', path: '/users' }), message: 'a request failed' },
    ])
    expect(Bun.inspect(logged)).toContain(secret)
    expect(Bun.inspect(logged)).not.toContain(ada.email)
  })

  test('is answered over GraphQL without a word of it, and logged', async () => {
    const { post, logged } = await createFaces()
    const query = 'mutation ($input: RegisterUserInput!) { registerUser(input: $input) { id } }'
    const response = await post('/graphql', { query, variables: { input: ada } })
    const text = await response.text()
    expect(JSON.parse(text)).toMatchObject({ data: null, errors: [{ extensions: { code: 'internal' } }] })
    expect(text).not.toMatch(/password_hash|\.ts|stack/)
    expect(logged).toHaveLength(1)
    expect(Bun.inspect(logged)).toContain(secret)
  })
})

describe('a service that is away', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:6379'), { code: 'ECONNREFUSED' })

  test('is a 503 with Retry-After over HTTP', async () => {
    const { bff, userId, authorization } = await createFaces(refused)
    const response = await bff.request(`/users/${userId}`, { headers: { authorization } })
    expect(response.status).toBe(503)
    expect(response.headers.get('retry-after')).toBe('1')
    expect(await response.text()).not.toContain('10.0.0.7')
  })

  test('is the same code over GraphQL, with when to come back', async () => {
    const { bff, authorization } = await createFaces(refused)
    const headers = { authorization, 'content-type': 'application/json' }
    const body = JSON.stringify({ query: '{ me { id } }' })
    const text = await (await bff.request('/graphql', { method: 'POST', headers, body })).text()
    expect(JSON.parse(text)).toMatchObject({
      data: { me: null },
      errors: [{ path: ['me'], extensions: { code: 'unavailable', retryAfterSeconds: 1 } }],
    })
    expect(text).not.toContain('10.0.0.7')
  })
})

describe('more requests than are worked on at once', () => {
  /** Faces with two requests inside, which is all that they work on. */
  const full = async () => {
    const inside = door()
    const faces = await createFaces(undefined, {
      maxRequestsInFlight: 2,
      hash: () => inside.pass().then(() => 'hash'),
    })
    const held = [1, 2].map(async () => faces.post('/users', ada))
    await inside.reached
    return { ...faces, held, open: inside.open }
  }

  test('are refused with when to come back and the name of their story, and are no fault', async () => {
    const { bff, post, logged, held, open } = await full()
    for (const response of [
      await post('/users', ada),
      await post('/graphql', { query: '{ me { id } }' }),
      await bff.request('/products', { headers: { 'correlation-id': 'story-9' } }),
      await bff.request('/nowhere', { headers: { 'correlation-id': 'story-9' } }),
    ]) {
      expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
      expect(response.headers.get('content-type')).toBe('application/problem+json')
      expect(response.headers.get('correlation-id')).toBe('story-9')
      expect(await response.json()).toMatchObject({ code: 'overloaded', status: 503 })
    }
    expect(logged).toEqual([])
    open()
    await Promise.all(held)
  })

  test('do not take health away', async () => {
    const { bff, held, open } = await full()
    for (const method of ['GET', 'HEAD']) expect((await bff.request('/livez', { method })).status).toBe(200)
    const readiness = await bff.request('/readyz')
    expect([readiness.status, readiness.headers.get('content-type')]).toEqual([503, 'application/json'])
    open()
    await Promise.all(held)
  })

  test('are worked on again once others have ended, however these ended', async () => {
    const { bff, post, held, open } = await full()
    open()
    expect((await Promise.all(held)).map(({ status }) => status)).toEqual([500, 500])
    for (let round = 0; round < 5; round += 1) {
      expect((await bff.request('/nowhere')).status).toBe(404)
      expect((await post('/users', {})).status).toBe(400)
    }
  })
})

describe('a module whose messages are not sent', () => {
  const commandError = new OverloadedError('What users has to tell the others is not sent.', { retryAfterSeconds: 10 })

  test('answers changes with a 503 and when to come back, over HTTP', async () => {
    const { post, logged } = await createFaces(undefined, { commandError })
    const response = await post('/users', ada)
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '10'])
    expect(await response.json()).toMatchObject({ code: 'overloaded', detail: commandError.message })
    expect(logged).toEqual([])
  })

  test('answers changes with a 503 and when to come back, over GraphQL', async () => {
    const { post, logged } = await createFaces(undefined, { commandError })
    const query = 'mutation ($input: RegisterUserInput!) { registerUser(input: $input) { id } }'
    const response = await post('/graphql', { query, variables: { input: ada } })
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '10'])
    expect(await response.json()).toMatchObject({
      data: null,
      errors: [{ message: commandError.message, extensions: { code: 'overloaded', retryAfterSeconds: 10 } }],
    })
    expect(logged).toEqual([])
  })
})

test('a path that takes other methods says which', async () => {
  const { bff } = await createFaces()
  const allowed: [method: string, path: string, methods: string][] = [
    ['PUT', '/users', 'POST'],
    ['POST', '/users/nobody', 'DELETE, GET, HEAD, PATCH'],
    ['TRACE', '/orders', 'GET, HEAD, POST'],
    ['DELETE', '/graphql', 'GET, HEAD, OPTIONS, POST'],
  ]
  for (const [method, path, methods] of allowed) {
    const response = await bff.request(path, { method })
    expect([path, response.status, response.headers.get('allow')]).toEqual([path, 405, methods])
    expect(await response.json()).toMatchObject({ code: 'method-not-allowed' })
  }
  for (const path of ['/', '/users/1/2', '/Users', '/orders/', '/ops', '/docs/nothing'])
    expect([path, (await bff.request(path)).status]).toEqual([path, 404])
})

describe('a request that takes too long', () => {
  const slow = async () => {
    const inside = door()
    const hash = () => inside.pass().then(() => 'hash')
    return { ...(await createFaces(undefined, { hash, requestTimeoutMs: 20, maxRequestsInFlight: 1 })), ...inside }
  }

  test('is answered 503, that it may have been done, and is logged', async () => {
    const { post, open, logged } = await slow()
    const response = await post('/users', ada)
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
    expect(await response.json()).toMatchObject({ code: 'timeout' })
    expect(logged).toEqual([
      { fields: expect.objectContaining({ path: '/users', status: 503 }), message: 'a request failed' },
    ])
    open()
  })

  test('is worked on, and counts, until it ends', async () => {
    const { bff, post, open } = await slow()
    expect((await post('/users', ada)).status).toBe(503)
    expect(await (await post('/users', ada)).json()).toMatchObject({ code: 'overloaded' })
    open()
    await eventually(async () => expect((await bff.request('/nowhere')).status).toBe(404))
  })
})

test('a body that does not arrive in half of that time is not waited for', async () => {
  const { bff, logged } = await createFaces(undefined, { requestTimeoutMs: 200 })
  const never = () => new ReadableStream<Uint8Array>({ start: (stream) => stream.enqueue(new Uint8Array([123])) })
  for (const path of ['/users', '/graphql']) {
    for (const length of [{ 'content-length': '100' }, { 'transfer-encoding': 'chunked' }]) {
      const headers = { 'content-type': 'application/json', ...length }
      const response = await bff.request(path, { method: 'POST', headers, body: never() })
      expect([path, response.status]).toEqual([path, 408])
      expect(await response.json()).toMatchObject({ code: 'body-too-slow' })
    }
  }
  expect(logged).toEqual([])
})

describe('health', () => {
  test('is the process alone for /livez', async () => {
    const { bff } = await createFaces()
    const response = await bff.request('/livez')
    expect([response.status, await response.json()]).toEqual([200, { status: 'ok' }])
  })

  test('names what is not ready for /readyz', async () => {
    const { bff } = await createFaces()
    const response = await bff.request('/readyz')
    const notReady = ['users: Postgres does not answer']
    expect([response.status, await response.json()]).toEqual([503, { status: 'not-ready', notReady }])
  })
})

describe('the documentation', () => {
  test('is one page that loads nothing from elsewhere', async () => {
    const { bff } = await createFaces()
    const page = await bff.request('/docs')
    expect(page.headers.get('content-security-policy')).toContain("default-src 'self'")
    const html = await page.text()
    expect(html).not.toContain('http')
    const assets = [...html.matchAll(/(?:src|href)="(\/docs\/[^"]+)"/g)].map(([, path = '']) => path)
    expect(assets).toHaveLength(3)
    for (const path of assets) {
      const asset = await bff.request(path)
      expect([path, asset.status]).toEqual([path, 200])
      expect(asset.headers.get('content-type')).toMatch(path.endsWith('.css') ? /^text\/css/ : /^text\/javascript/)
      expect((await asset.arrayBuffer()).byteLength).toBeGreaterThan(50)
    }
  })

  test('serves no other file of its package', async () => {
    const { bff } = await createFaces()
    for (const name of ['package.json', 'swagger-ui.js', '..%2f..%2fpackage.json', '__proto__', 'toString'])
      expect((await bff.request(`/docs/${name}`)).status).toBe(404)
  })
})
