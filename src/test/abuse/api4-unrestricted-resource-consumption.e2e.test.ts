import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { freshEmail } from '../client.ts'
import { speak } from './wire.ts'
import { openWorld } from './world.ts'

setDefaultTimeout(120_000)

const { as, ask, attacker, client, lines, product, refuses, state, url } = await openWorld({
  REQUEST_TIMEOUT_MS: '2000',
})

const cart = { lines, paymentToken: 'tok_visa' }
const invalid = { status: 400, code: 'invalid-input' }
const megabyte = 'x'.repeat(1_000_000)
const deep = (count: number, open: string, close: string) => `${open.repeat(count)}${close.repeat(count)}`
const nested = (depth: number) => `{ me ${'{ orders { nodes { user '.repeat(depth)}{ id }${' } } }'.repeat(depth)} }`
const streamed = (part: string, times: number) =>
  new ReadableStream<Uint8Array>({
    pull: (stream) => (times-- > 0 ? stream.enqueue(new TextEncoder().encode(part)) : stream.close()),
  })

refuses([
  {
    name: 'a body of a megabyte',
    send: () => as(attacker, 'POST', '/orders', { ...cart, more: megabyte }),
    status: 413,
    code: 'too-large',
  },
  {
    name: 'a body of a megabyte that does not say how long it is',
    send: () => as(attacker, 'POST', '/orders', streamed('x'.repeat(10_000), 100)),
    status: 413,
    code: 'too-large',
  },
  {
    name: 'a body of a megabyte for GraphQL',
    send: () => as(attacker, 'POST', '/graphql', { query: `{ me { id } } # ${megabyte}` }),
    status: 413,
    code: 'too-large',
  },
  {
    name: 'a body of brackets in brackets',
    send: () => as(attacker, 'POST', '/orders', deep(45_000, '[', ']')),
    ...invalid,
  },
  {
    name: 'a body of objects in objects',
    send: () => as(attacker, 'POST', '/orders', `${'{"a":'.repeat(15_000)}1${'}'.repeat(15_000)}`),
    ...invalid,
  },
  {
    name: 'an order of more lines than there are',
    send: () => as(attacker, 'POST', '/orders', { ...cart, lines: Array.from({ length: 101 }, () => lines[0]) }),
    ...invalid,
  },
  {
    name: 'a token for a payment that is as long as a book',
    send: () => as(attacker, 'POST', '/orders', { ...cart, paymentToken: 'x'.repeat(90_000) }),
    ...invalid,
  },
  {
    name: 'a password that takes long to hash',
    send: () =>
      client.send('POST', '/users', { body: { name: 'M', email: freshEmail(), password: 'é'.repeat(40_000) } }),
    ...invalid,
  },
  { name: 'a page of a million', send: () => as(attacker, 'GET', '/orders?limit=1000000'), ...invalid },
  { name: 'a page of none', send: () => as(attacker, 'GET', '/orders?limit=0'), ...invalid },
  { name: 'a cursor without end', send: () => as(attacker, 'GET', `/orders?cursor=${'x'.repeat(5_000)}`), ...invalid },
  {
    name: 'a page of a million in GraphQL',
    send: () => ask(attacker, '{ orders(first: 1000000) { nodes { id } } }'),
    status: 200,
    code: 'invalid-input',
  },
  {
    name: 'an Idempotency-Key that fills a table',
    send: () => as(attacker, 'POST', '/orders', cart, { 'idempotency-key': 'k'.repeat(256) }),
    ...invalid,
  },
])

/** What is refused before anything of it runs, however it is called. */
const dearQueries: Record<string, string> = {
  'a query that goes in circles': nested(30),
  'a query that asks for lists of lists':
    '{ me { orders(first: 100) { nodes { user { orders(first: 100) { nodes { user { orders(first: 100) { nodes { id } } } } } } } } } }',
  'a query of a thousand aliases': `{ ${Array.from({ length: 1_000 }, (_, index) => `a${index}: products { sku }`).join(' ')} }`,
  'a fragment that contains itself': 'query { me { ...a } } fragment a on User { orders { nodes { user { ...a } } } }',
}
for (const [name, query] of Object.entries(dearQueries)) {
  test(`${name} is refused and not run`, async () => {
    const { body } = await ask(attacker, query)
    const { data, errors } = body as { data?: unknown; errors: { extensions: { code: string } }[] }
    expect([data ?? null, errors.length > 0]).toEqual([null, true])
    expect(errors[0]?.extensions.code).toMatch(/\w/)
  })
}

test('requests in a list are not answered one by one', async () => {
  const before = await state()
  const query = `mutation { placeOrder(input: { lines: [{ sku: "${product.sku}", quantity: 1 }], paymentToken: "tok_visa" }) { id } }`
  const answer = await as(
    attacker,
    'POST',
    '/graphql',
    Array.from({ length: 50 }, () => ({ query })),
  )
  expect(JSON.stringify(answer.body)).not.toContain('placeOrder"')
  expect(answer.status).toBeGreaterThanOrEqual(400)
  expect(await state()).toEqual(before)
})

const head = (path: string, more: string) =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${attacker.token}\r\nContent-Type: application/json\r\n${more}\r\n`

describe('a client that sends its body byte by byte', () => {
  for (const path of ['/orders', '/graphql']) {
    test(`is told that it is too slow: ${path}`, async () => {
      const before = await state()
      const drip = Array.from({ length: 200 }, () => ' ')
      expect(await speak(url, [head(path, 'Content-Length: 1000\r\n'), ...drip], 50)).toStartWith('HTTP/1.1 408')
      const chunks = drip.map((byte) => `1\r\n${byte}\r\n`)
      expect(await speak(url, [head(path, 'Transfer-Encoding: chunked\r\n'), ...chunks], 50)).toStartWith(
        'HTTP/1.1 408',
      )
      expect(await state()).toEqual(before)
    })
  }
})

test('headers without end are refused', async () => {
  expect(await speak(url, [head('/orders', `X-Long: ${'x'.repeat(100_000)}\r\n`)], 1)).toStartWith('HTTP/1.1 431')
})
