import { describe, expect, test } from 'bun:test'
import { z } from 'zod'
import { createLog } from '#platform/log'
import { createFaces } from '../../test/faces.ts'
import { messageThrownBy } from '../../test/thrown.ts'
import { createGraphqlHandler } from './http.ts'
import { readStoredTexts } from './stored-documents.ts'
import { createGraphql } from './yoga.ts'

const open = await createFaces()
const strict = await createFaces(undefined, { storedDocumentsOnly: true })

const log = createLog({ level: 'silent', readable: false })
const handle = (stored: Map<string, string>) =>
  createGraphqlHandler(createGraphql({ graphiql: false, introspection: false, log, elsewhere: [] }), {
    stored,
    storedOnly: true,
  })

const answer = z.object({
  data: z.unknown().optional(),
  errors: z.array(z.looseObject({ message: z.string(), extensions: z.looseObject({ code: z.string() }) })).optional(),
})

const read = async (response: Response) => {
  const { data, errors = [] } = answer.parse(await response.json())
  return { status: response.status, data, codes: errors.map(({ extensions }) => extensions.code) }
}

const post = async (body: unknown, faces = open) => read(await faces.post('/graphql', body))

const get = async (search: Record<string, string>, faces = open) =>
  read(await faces.bff.request(`/graphql?${new URLSearchParams(search)}`, { headers: { accept: 'application/json' } }))

describe('every stored document', () => {
  for (const [id, text] of readStoredTexts()) {
    test(`${id} fits the schema and its limits`, () => {
      expect(handle(new Map([[id, text]]))).toBeFunction()
    })
  }

  test('is found under its client and its name', () => {
    expect([...readStoredTexts().keys()]).toEqual(expect.arrayContaining(['mobile/home', 'web/home']))
  })

  test('that fits neither keeps the process from starting, and is named', async () => {
    for (const [text, reason] of [
      ['{ nowhere }', 'Cannot query field'],
      ['{ me {', 'Syntax Error'],
      [`{ ${'me { id } '.repeat(201)} }`, '200 are allowed'],
    ] as const) {
      const message = await messageThrownBy((async () => handle(new Map([['web/broken', text]])))())
      expect(message).toStartWith('The stored document web/broken is not valid: ')
      expect(message).toContain(reason)
    }
  })
})

describe('a stored document is run by its name', () => {
  const nobody = { status: 200, data: { me: null }, codes: [] }

  test('by POST and by GET, with variables or without', async () => {
    for (const faces of [open, strict]) {
      expect(await post({ documentId: 'mobile/home' }, faces)).toEqual(nobody)
      expect(await post({ documentId: 'mobile/home', variables: {}, extensions: {} }, faces)).toEqual(nobody)
      expect(await get({ documentId: 'mobile/home' }, faces)).toEqual(nobody)
      const variables = { id: Bun.randomUUIDv7() }
      const order = { status: 200, data: { order: null }, codes: ['unauthenticated'] }
      expect(await post({ documentId: 'mobile/order', variables }, faces)).toEqual(order)
      expect(await get({ documentId: 'mobile/order', variables: JSON.stringify(variables) }, faces)).toEqual(order)
    }
  })

  test('and is refused with variables that do not fit it', async () => {
    expect((await post({ documentId: 'mobile/order', variables: {} })).status).toBe(400)
    expect((await post({ documentId: 'mobile/order', variables: [] })).status).toBe(400)
  })

  test('which has to be known, and stands alone', async () => {
    for (const documentId of ['mobile/nothing', '', '../package', 'toString', 1, null]) {
      expect(await post({ documentId })).toEqual({ status: 400, data: undefined, codes: ['unknown-document'] })
    }
    expect(await get({ documentId: 'mobile/nothing' })).toMatchObject({ status: 400, codes: ['unknown-document'] })
    const both = { documentId: 'mobile/home', query: '{ me { id } }' }
    expect(await post(both)).toMatchObject({ status: 400, codes: ['invalid-query'] })
    expect(await get(both)).toMatchObject({ status: 400, codes: ['invalid-query'] })
  })
})

describe('where only stored documents are run', () => {
  const query = '{ products { sku } }'
  const refused = { status: 400, data: undefined, codes: ['document-required'] }

  test('a text is refused whichever way it comes', async () => {
    expect(await post({ query }, strict)).toEqual(refused)
    expect(await post({}, strict)).toEqual(refused)
    expect(await get({ query }, strict)).toEqual(refused)
    for (const [type, body] of [
      ['application/graphql', query],
      ['application/x-www-form-urlencoded', new URLSearchParams({ query }).toString()],
      ['application/graphql+json', JSON.stringify({ query })],
      ['APPLICATION/JSON', JSON.stringify({ query })],
    ] as const) {
      const sent = { method: 'POST', headers: { 'content-type': type }, body }
      expect(await read(await strict.bff.request('/graphql', sent))).toEqual(refused)
    }
  })

  test('the whole text of one of them is as good as its name', async () => {
    const text = readStoredTexts().get('mobile/home') ?? ''
    expect(await post({ query: text }, strict)).toMatchObject({ status: 200, codes: [] })
    expect(await post({ query: `${text} ` }, strict)).toEqual(refused)
  })

  test('a list of them is refused like everywhere', async () => {
    for (const faces of [open, strict])
      expect(await post([{ documentId: 'mobile/home' }, { query }], faces)).toMatchObject({
        status: 400,
        data: undefined,
      })
  })
})
