import { describe, expect, test } from 'bun:test'
import { getIntrospectionQuery } from 'graphql'
import { z } from 'zod'
import { createFaces } from '../../test/faces.ts'

const open = await createFaces()
const closed = await createFaces(undefined, { introspection: false })

const answer = z.object({
  errors: z.array(z.looseObject({ message: z.string(), extensions: z.object({ code: z.string() }) })).optional(),
})

const errorsOf = async (query: string, headers: Record<string, string> = {}, { bff, authorization } = open) => {
  const response = await bff.request('/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization, ...headers },
    body: JSON.stringify({ query, variables: { first: 1 } }),
  })
  return answer.parse(await response.json()).errors ?? []
}

/** The codes that the document is refused with; a document that is executed fails at what it reads, as nothing is there. */
const refusals = async (...asked: Parameters<typeof errorsOf>): Promise<string[]> =>
  [...new Set((await errorsOf(...asked)).map(({ extensions }) => extensions.code))].filter(
    (code) => code !== 'internal',
  )

const times = (count: number, one: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => one(index)).join(' ')

const around = (times: number, page: string, inner: string): string =>
  times === 0 ? inner : `orders${page} { nodes { user { ${around(times - 1, page, inner)} } } }`

const order = `id userId status reason lines { sku name quantity price { amount currency } } total { amount currency }
  paymentId version createdAt user { id name email status version createdAt }
  payment { id orderId userId status amount { amount currency } version createdAt order { id } }`

describe('a document may ask for', () => {
  const allowed: Record<string, string> = {
    'a page of a hundred orders, twice, with everything': `{ orders(first: 100) { nodes { ${order} } edges { cursor node { ${order} } } } }`,
    'the last orders of the users of a page': `{ orders(first: 100) { nodes { user { orders(first: 10) { nodes { id status } } } } } }`,
    'a hundred things by their ids': `{ ${times(100, (index) => `a${index}: order(id: "0198c0de-0000-7000-8000-000000000001") { ${order} }`)} }`,
    'the whole schema': getIntrospectionQuery({ descriptions: true, inputValueDeprecation: true }),
  }
  for (const [name, query] of Object.entries(allowed)) {
    test(name, async () => expect(await refusals(query)).toEqual([]))
  }
})

describe('a document is refused, whichever way it takes, when it could be answered without end:', () => {
  const refused: Record<string, string> = {
    'users of orders of users of orders of users': `{ me { ${around(3, '(first: 100)', 'id')} } }`,
    'the same with pages of an unsaid length, once more': `{ me { ${around(4, '', 'id')} } }`,
    'the same with pages whose length is a variable': `query ($first: Int) { me { ${around(3, '(first: $first)', 'id')} } }`,
    'the same beside pages of less than nothing': `{ me { a: orders(first: -1000000) { nodes { id } } ${around(3, '(first: 100)', 'id')} } }`,
    'the same in fragments': `{ me { ...A } } fragment A on User { orders(first: 100) { nodes { user { ...B } } } }
      fragment B on User { orders(first: 100) { nodes { user { ...C } } } }
      fragment C on User { orders(first: 100) { nodes { ... on Order { id } } } }`,
  }
  for (const [name, query] of Object.entries(refused)) {
    test(name, async () => {
      expect(await refusals(query)).toEqual(['too-complex'])
      expect(await refusals(query, { accept: 'application/graphql-response+json' })).toEqual(['too-complex'])
    })
  }

  test('a fragment within itself is refused as that', async () => {
    const query = '{ me { ...A } } fragment A on User { orders { nodes { user { ...A } } } }'
    expect(await refusals(query)).toEqual(['GRAPHQL_VALIDATION_FAILED'])
  })
})

describe('a document is refused, before it is looked at more closely, when it has too many', () => {
  const refused: Record<string, [query: string, code: string, allowed: string]> = {
    levels: [`{ me { ${around(5, '(first: 1)', 'id')} } }`, 'too-deep', '15 are allowed'],
    'levels in fragments': [
      `{ me { ...A } } fragment A on User { ${around(3, '(first: 1)', '...B')} }
        fragment B on User { ${around(2, '(first: 1)', 'id')} }`,
      'too-deep',
      '15 are allowed',
    ],
    aliases: [`{ ${times(101, (index) => `a${index}: me { id }`)} }`, 'too-many-aliases', '100 are allowed'],
    'aliases in fragments': [
      `{ me { ...A } b: me { ...A } } fragment A on User { ${times(51, (index) => `a${index}: id`)} }`,
      'too-many-aliases',
      '100 are allowed',
    ],
    'fields beside each other': [`{ ${'me { id } '.repeat(201)} }`, 'too-wide', '200 are allowed'],
    tokens: [`{ me { ${'id '.repeat(8_000)} } }`, 'too-many-tokens', 'more than 8000 tokens'],
    'fields in its answer': [`{ me { ${around(3, '(first: 100)', 'id')} } }`, 'too-complex', 'more than 100000 fields'],
  }
  for (const [name, [query, code, allowed]] of Object.entries(refused)) {
    test(name, async () => {
      // A field that does not exist is not looked for any more.
      const ill = query.replace(/\bid\b/, 'nowhere')
      expect(await refusals(ill)).toEqual([code])
      expect((await errorsOf(ill))[0]?.message).toContain(allowed)
      expect(await refusals(ill, { accept: 'application/graphql-response+json' })).toEqual([code])
    })
  }
})

describe('where clients are not told the schema', () => {
  test('introspection is refused, and the names of types are not', async () => {
    for (const query of [
      getIntrospectionQuery(),
      '{ __type(name: "User") { name } }',
      '{ a: __schema { __typename } }',
    ])
      expect(await refusals(query, {}, closed)).toEqual(['introspection-off'])
    expect(await refusals('{ __typename me { __typename } }', {}, closed)).toEqual([])
  })

  test('a misspelt name is not corrected', async () => {
    const misspelt = ['{ mee { id } }', '{ me { idd } }', '{ me { orders(frst: 1) { nodes { id } } } }']
    for (const query of misspelt) {
      expect((await errorsOf(query))[0]?.message).toContain('Did you mean')
      expect((await errorsOf(query, {}, closed))[0]?.message).not.toContain('Did you mean')
    }
  })

  test('a misspelt field of a variable is not corrected', async () => {
    const body = {
      query: 'mutation ($input: CreateSessionInput!) { createSession(input: $input) { userId } }',
      variables: { input: { email: 'a', password: 'b', passwort: 'c' } },
    }
    const told = async (faces: typeof open) => (await (await faces.post('/graphql', body)).json()).errors[0].message
    expect(await told(open)).toContain('Did you mean')
    expect(await told(closed)).not.toContain('Did you mean')
  })
})
