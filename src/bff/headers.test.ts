import { describe, expect, test } from 'bun:test'
import { addressesIn } from '#platform/addresses'
import { createFaces, secret } from '../test/faces.ts'

const secure = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

const json = { 'content-type': 'application/json' }
const post = (body: string, headers: Record<string, string> = json): RequestInit => ({ method: 'POST', body, headers })

describe('every answer says what a browser may do with it', () => {
  const asked: [status: number, path: string, init?: RequestInit][] = [
    [200, '/livez'],
    [503, '/readyz'],
    [200, '/openapi.json'],
    [404, '/nowhere'],
    [401, '/orders'],
    [400, '/users', post('{')],
    [415, '/users', post('{}', { 'content-type': 'text/plain' })],
    [405, '/users'],
    [413, '/users', post('{}', { ...json, 'content-length': '100001' })],
    [500, '/users', post(JSON.stringify({ name: 'Ada', email: 'ada@example.com', password: 'correct horse' }))],
    [200, '/graphql', post(JSON.stringify({ query: '{ __typename }' }))],
    [415, '/graphql', post('{}', { 'content-type': 'text/plain' })],
  ]
  for (const [status, path, init] of asked) {
    test(`${status} ${init?.method ?? 'GET'} ${path}`, async () => {
      const { bff } = await createFaces()
      const response = await bff.request(path, init)
      expect(response.status).toBe(status)
      expect(Object.fromEntries(response.headers)).toMatchObject(secure)
      expect(response.headers.get('server')).toBeNull()
      expect(response.headers.get('x-powered-by')).toBeNull()
      expect(response.headers.get('strict-transport-security')).toBeNull()
      if (status >= 400)
        expect(await response.text()).not.toMatch(new RegExp(`${secret}|\\.ts\\b|\\bat .*:\\d+|select |insert `))
    })
  }

  test('a page may load what is served from here, and nothing else may show it', async () => {
    const { bff } = await createFaces()
    const { headers } = await bff.request('/docs')
    expect(headers.get('content-security-policy')).toContain("default-src 'self'")
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
    expect(headers.get('content-security-policy')).not.toMatch(/https?:|script-src/)
    expect(headers.get('x-content-type-options')).toBe('nosniff')
  })
})

describe('GraphiQL', () => {
  const page = { headers: { accept: 'text/html' } }

  test('is one page in development, which loads nothing from elsewhere', async () => {
    const { bff } = await createFaces(undefined, { development: true })
    const response = await bff.request('/graphql', page)
    expect(response.headers.get('content-type')).toStartWith('text/html')
    expect(response.headers.get('content-security-policy')).toContain("default-src 'self'")
    expect(await response.text()).not.toMatch(/<(script|link)[^>]+(src|href)="?https?:/)
  })

  test('is not served anywhere else', async () => {
    const { bff } = await createFaces()
    const response = await bff.request('/graphql', page)
    expect(response.headers.get('content-type')).not.toStartWith('text/html')
  })
})

describe('a browser is told to come by encrypted connections only', () => {
  const transport = async (peer: string, proto: string) => {
    const { bff } = await createFaces(undefined, { proxies: addressesIn(['10.0.0.0/8']) })
    const server = { requestIP: () => ({ address: peer }), timeout: () => undefined }
    const response = await bff.request('/livez', { headers: { 'x-forwarded-proto': proto } }, server)
    return response.headers.get('strict-transport-security')
  }

  test('when it came by one, as a proxy of ours says', async () => {
    expect(await transport('10.0.0.1', 'https')).toBe('max-age=31536000')
    expect(await transport('::ffff:10.0.0.1', 'https')).toBe('max-age=31536000')
    expect(await transport('10.0.0.1', 'http')).toBeNull()
    expect(await transport('192.0.2.7', 'https')).toBeNull()
  })
})

describe('a page of another origin', () => {
  const origin = 'https://shop.example'
  const preflight = {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,idempotency-key',
    },
  }
  const allowed = (response: Response) =>
    [...response.headers.keys()].filter((name) => name.startsWith('access-control-'))

  test('may not read anything, unless its origin is set', async () => {
    const { bff } = await createFaces()
    for (const path of ['/orders', '/graphql', '/livez']) {
      expect(allowed(await bff.request(path, preflight))).toEqual([])
      expect(allowed(await bff.request(path, { headers: { origin } }))).toEqual([])
    }
    const other = await createFaces(undefined, { corsOrigins: ['https://other.example'] })
    const { headers } = await other.bff.request('/livez', { headers: { origin } })
    expect(headers.get('access-control-allow-origin')).toBeNull()
  })

  test('may when it is, with a token and a key, and sees what a client needs', async () => {
    const { bff } = await createFaces(undefined, { corsOrigins: [origin, 'https://other.example'] })
    const asked = await bff.request('/orders', preflight)
    expect(asked.status).toBe(204)
    expect(asked.headers.get('access-control-allow-origin')).toBe(origin)
    expect(asked.headers.get('access-control-allow-methods')).toContain('PATCH')
    expect(asked.headers.get('access-control-allow-headers')).toContain('idempotency-key')
    for (const path of ['/livez', '/orders', '/nowhere']) {
      const { headers } = await bff.request(path, { headers: { origin } })
      expect(headers.get('access-control-allow-origin')).toBe(origin)
      expect(headers.get('access-control-expose-headers')).toContain('Consistency-Token')
      expect(headers.get('access-control-allow-credentials')).toBeNull()
      expect(headers.get('vary')).toContain('Origin')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
    }
  })
})
