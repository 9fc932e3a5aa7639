import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { startTestApp } from '../../test/app.ts'
import { createClient, refusal } from '../../test/client.ts'

setDefaultTimeout(60_000)

const app = await startTestApp()
const client = createClient(app.url)
const { id, token } = await client.signUp('Two Ways')

afterAll(() => app.stop())

type Operation = { query: string; variables?: unknown; operationName?: unknown }

const user = 'query ($id: ID!) { user(id: $id) { id name } }'

/** What well-formed requests can ask, with how it ends. */
const operations: Record<string, [Operation, 'answered' | 'refused']> = {
  'a query': [{ query: '{ me { id name email status version createdAt } }' }, 'answered'],
  'a query with variables': [{ query: user, variables: { id } }, 'answered'],
  'variables and a name that are null': [{ query: '{ me { id } }', variables: null, operationName: null }, 'answered'],
  'one of two by its name': [
    { query: 'query A { me { id } } query B { me { name } }', operationName: 'B' },
    'answered',
  ],
  'aliases and fragments': [
    { query: '{ a: me { ...F } b: me { ... on User { name } __typename } } fragment F on User { id }' },
    'answered',
  ],
  'a field that is left out': [{ query: '{ me { id name @include(if: false) } }' }, 'answered'],
  introspection: [{ query: '{ __schema { types { name } } }' }, 'answered'],
  'a refusal of the domain': [{ query: user, variables: { id: Bun.randomUUIDv7() } }, 'refused'],
  'input that does not fit': [{ query: user, variables: { id: 'me' } }, 'refused'],
  'a mutation that is refused': [{ query: 'mutation { closeUser(id: "x") { id } }' }, 'refused'],
  'no such name': [{ query: 'query A { me { id } }', operationName: 'B' }, 'refused'],
  'none of two named': [{ query: 'query A { me { id } } query B { me { id } }' }, 'refused'],
  'a missing variable': [{ query: user }, 'refused'],
  'a variable of the wrong type': [{ query: user, variables: { id: {} } }, 'refused'],
  'a variable that is null': [{ query: user, variables: { id: null } }, 'refused'],
  'broken syntax': [{ query: '{ me {' }, 'refused'],
  'an empty text': [{ query: '' }, 'refused'],
  'a field that does not exist': [{ query: '{ me { password } }' }, 'refused'],
  'a fragment only': [{ query: 'fragment F on User { id }' }, 'refused'],
  'no text at all': [{} as Operation, 'refused'],
  'variables that are a list': [{ query: '{ me { id } }', variables: [] }, 'refused'],
  'variables that are a text': [{ query: '{ me { id } }', variables: '{}' }, 'refused'],
  'a name that is no text': [{ query: 'query A { me { id } }', operationName: 1 }, 'refused'],
}

const post = (body: unknown, headers: Record<string, string> = {}) =>
  client.send('POST', '/graphql', { token, headers, body: typeof body === 'string' ? body : JSON.stringify(body) })

describe('the short way for plain JSON and the way through Yoga answer the same to', () => {
  for (const [name, [operation, ends]] of Object.entries(operations)) {
    test(name, async () => {
      const short = await post(operation)
      expect(short.body).toHaveProperty(ends === 'answered' ? 'data' : 'errors')
      // An empty `extensions` is nothing to the operation, and more than the short way takes.
      const long = await post({ ...operation, extensions: {} })
      expect([short.status, short.body]).toEqual([long.status, long.body])
      expect(short.headers.get('content-type')).toBe(long.headers.get('content-type'))
      const media = await post(operation, { accept: 'application/graphql-response+json' })
      expect(media.headers.get('content-type')).toStartWith('application/graphql-response+json')
      expect(media.body).toEqual(short.body)
    })
  }

  test('a query by GET', async () => {
    const variables = JSON.stringify({ id })
    const search = new URLSearchParams({ query: user, variables })
    const long = await client.send('GET', `/graphql?${search}`, { token, headers: { accept: 'application/json' } })
    expect(long.body).toEqual((await post({ query: user, variables: { id } })).body)
    expect(long.status).toBe(200)
  })
})

describe('refused is', () => {
  test('a mutation by GET, which changes nothing', async () => {
    const query = `mutation { renameUser(id: "${id}", name: "By GET") { id } }`
    const answer = await client.send('GET', `/graphql?${new URLSearchParams({ query })}`, { token })
    expect(answer.status).toBe(405)
    expect(answer.body).toHaveProperty('errors')
    expect((await client.send('GET', `/users/${id}`, { token })).body).toMatchObject({ name: 'Two Ways', version: 1 })
  })

  test('a list of operations', async () => {
    const answer = await post([{ query: '{ me { id } }' }, { query: '{ me { id } }' }])
    expect([answer.status, answer.body]).toEqual([400, { errors: [expect.anything()] }])
  })

  for (const body of ['', '{', 'null', '1', '"{ me { id } }"', '{"query":1}']) {
    test(`a body that holds no operation: ${JSON.stringify(body)}`, async () => {
      const answer = await post(body)
      expect([answer.status, answer.body]).toEqual([400, { errors: [expect.anything()] }])
    })
  }

  test('a media type that is not GraphQL, as a problem', async () => {
    const body = JSON.stringify({ query: '{ me { id } }' })
    expect(refusal(await post(body, { 'content-type': 'text/plain' }))).toMatchObject({ status: 415 })
    expect(refusal(await post(body, { accept: 'image/png' }))).toMatchObject({ status: 406 })
  })

  test('a Consistency-Token that no command gave, as a problem', async () => {
    const answer = await post({ query: '{ me { id } }' }, { 'consistency-token': 'garbage' })
    expect(refusal(answer)).toEqual({ status: 400, code: 'bad-consistency-token' })
  })
})

test('GraphiQL is not served but in development', async () => {
  const answer = await client.send('GET', '/graphql', { headers: { accept: 'text/html' } })
  expect(answer.status).toBe(406)
})
