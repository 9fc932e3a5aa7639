import { describe, expect, test } from 'bun:test'
import { createFaces, secret } from '../test/faces.ts'

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
    const assets = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => path)
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
