import { describe, expect, test } from 'bun:test'
import { getIntrospectionQuery } from 'graphql'
import { z } from 'zod'
import { createFaces } from '../../test/faces.ts'

const { bff, authorization } = await createFaces()

const answer = z.object({ errors: z.array(z.looseObject({ extensions: z.object({ code: z.string() }) })).optional() })

/** The codes that the document is refused with; a document that is executed fails at what it reads, as nothing is there. */
const refusals = async (query: string, headers: Record<string, string> = {}): Promise<string[]> => {
  const response = await bff.request('/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization, ...headers },
    body: JSON.stringify({ query, variables: { first: 1 } }),
  })
  const { errors = [] } = answer.parse(await response.json())
  return [...new Set(errors.map(({ extensions }) => extensions.code))].filter((code) => code !== 'internal')
}

const around = (times: number, page: string, inner: string): string =>
  times === 0 ? inner : `orders${page} { nodes { user { ${around(times - 1, page, inner)} } } }`

const order = `id userId status reason lines { sku name quantity price { amount currency } } total { amount currency }
  paymentId version createdAt user { id name email status version createdAt }
  payment { id orderId userId status amount { amount currency } version createdAt order { id } }`

describe('a document may ask for', () => {
  const allowed: Record<string, string> = {
    'a page of a hundred orders, twice, with everything': `{ orders(first: 100) { nodes { ${order} } edges { cursor node { ${order} } } } }`,
    'the last orders of the users of a page': `{ orders(first: 100) { nodes { user { orders(first: 10) { nodes { id status } } } } } }`,
    'a hundred things by their ids': `{ ${Array.from({ length: 100 }, (_, index) => `a${index}: order(id: "x") { ${order} }`).join(' ')} }`,
    'the whole schema': getIntrospectionQuery({ descriptions: true, inputValueDeprecation: true }),
  }
  for (const [name, query] of Object.entries(allowed)) {
    test(name, async () => expect(await refusals(query)).not.toContain('too-complex'))
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
    'all products five hundred times': `{ ${Array.from({ length: 500 }, (_, index) => `p${index}: products { sku name stock }`).join(' ')} }`,
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
