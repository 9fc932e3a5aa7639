import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { speak } from './wire.ts'
import { openWorld } from './world.ts'

setDefaultTimeout(120_000)

const { as, attacker, client, lines, refuses, state, url } = await openWorld()

const cart = JSON.stringify({ lines, paymentToken: 'tok_visa' })
const invalid = { status: 400, code: 'invalid-input' }
const post = (body: unknown, headers: Record<string, string> = {}) => as(attacker, 'POST', '/orders', body, headers)

refuses([
  { name: 'a body that is no JSON', send: () => post('{"lines":'), ...invalid },
  { name: 'a body that is JavaScript', send: () => post(`(${cart})`), ...invalid },
  { name: 'a body with something behind it', send: () => post(`${cart};`), ...invalid },
  { name: 'a body that is null', send: () => post('null'), ...invalid },
  { name: 'a body of one number', send: () => post('1e999'), ...invalid },
  {
    name: 'JSON that says that it is a form',
    send: () => post(cart, { 'content-type': 'application/x-www-form-urlencoded' }),
    status: 415,
    code: 'http-415',
  },
  {
    name: 'JSON that says that it is XML',
    send: () => post(cart, { 'content-type': 'text/xml' }),
    status: 415,
    code: 'http-415',
  },
  {
    name: 'a file upload',
    send: () => post('--x', { 'content-type': 'multipart/form-data; boundary=x' }),
    status: 415,
    code: 'http-415',
  },
  { name: 'a key of control characters', send: () => post(cart, { 'idempotency-key': 'a\tb' }), ...invalid },
  { name: 'a key of other letters', send: () => post(cart, { 'idempotency-key': 'sch\u00fcssel' }), ...invalid },
  {
    name: 'a consistency token that somebody made',
    send: () =>
      as(attacker, 'GET', '/orders', undefined, {
        'consistency-token': Buffer.from('users/../../secrets/x/1').toString('base64url'),
      }),
    status: 400,
    code: 'bad-consistency-token',
  },
  {
    name: 'a consistency token of a list without end',
    send: () =>
      as(attacker, 'GET', '/orders', undefined, {
        'consistency-token': Buffer.from('x,'.repeat(2_000)).toString('base64url'),
      }),
    status: 400,
    code: 'bad-consistency-token',
  },
])

describe('a file of the machine or the project is not there', () => {
  const paths = [
    '/.env',
    '/.git/config',
    '/package.json',
    '/src/main.ts',
    '/docs/../package.json',
    '/docs/..%2fpackage.json',
    '/docs/%2e%2e/package.json',
    '/docs/..%5c..%5cetc%5cpasswd',
    '/etc/passwd',
    '//etc/passwd',
    '/node_modules/hono/package.json',
  ]
  for (const path of paths) {
    test(path, async () => {
      const response = await client.raw('GET', path)
      expect([response.status, response.headers.get('content-type')]).toEqual([404, 'application/problem+json'])
    })
  }
})

const line = (text: string, more = '') => `${text}\r\nHost: x\r\nConnection: close\r\n${more}\r\n`

describe('what is not HTTP is not answered as if it were', () => {
  const hostile: Record<string, string> = {
    'a method that is none': line('GE(T /livez HTTP/1.1'),
    'a version that there is not': line('GET /livez HTTP/9.9'),
    'a header without a name': line('GET /livez HTTP/1.1', ': x\r\n'),
    'a length below nothing': line('POST /orders HTTP/1.1', 'Content-Length: -1\r\n'),
    'two lengths': line('POST /orders HTTP/1.1', 'Content-Length: 1\r\nContent-Length: 2\r\n'),
    'a length and chunks':
      line('POST /orders HTTP/1.1', 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n') + '0\r\n\r\n',
    'a NUL in a header': line('GET /livez HTTP/1.1', 'X: a\0b\r\n'),
  }
  for (const [name, bytes] of Object.entries(hostile)) {
    test(name, async () => {
      const before = await state()
      const answer = await speak(url, [bytes])
      expect(answer).not.toMatch(/^HTTP\/1.1 (2\d\d|50[0-4])/)
      expect(answer).not.toMatch(/\.ts\b|node_modules/)
      expect((await client.send('GET', '/livez')).status).toBe(200)
      expect(await state()).toEqual(before)
    })
  }
})

test('a correlation id that would write a header or a line of the log is not taken', async () => {
  for (const given of ['a b', 'x'.repeat(129), '{"level":60}', '<script>', 'a\tb', '%0d%0aSet-Cookie: a=b']) {
    const response = await client.raw('GET', '/livez', { headers: { 'correlation-id': given } })
    expect(response.headers.get('correlation-id')).toMatch(/^[0-9a-f-]{36}$/)
    expect(response.headers.get('set-cookie')).toBeNull()
  }
})

test('a text is kept as it is and comes back as data: a browser neither guesses nor runs it', async () => {
  const name = '<script>alert(1)</script>"\'`${7*7}{{7*7}}'
  const renamed = await as(attacker, 'PATCH', `/users/${attacker.id}`, { name })
  expect(renamed.body).toMatchObject({ name })
  expect(renamed.headers.get('content-type')).toBe('application/json')
  expect(renamed.headers.get('x-content-type-options')).toBe('nosniff')
  expect(renamed.headers.get('content-security-policy')).toStartWith("default-src 'none'")
})

test('invalid UTF-8 neither breaks the process nor gets in', async () => {
  const bytes = new Uint8Array([
    ...new TextEncoder().encode('{"name":"'),
    0xff,
    0xc0,
    0x80,
    ...new TextEncoder().encode('"}'),
  ])
  const response = await fetch(`${url}/users/${attacker.id}`, {
    method: 'PATCH',
    headers: { authorization: `Bearer ${attacker.token}`, 'content-type': 'application/json' },
    body: bytes,
  })
  expect([200, 400]).toContain(response.status)
  expect(await response.text()).not.toContain('\0')
})
