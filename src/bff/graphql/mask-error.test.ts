import { expect, test } from 'bun:test'
import { createFaces, secret } from '../../test/faces.ts'

const { bff, authorization, logged } = await createFaces()

test('a fault in a subscription ends it with an error that tells nothing, and is logged', async () => {
  const response = await bff.request('/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream', authorization },
    body: JSON.stringify({ query: `subscription { orderChanged(id: "${Bun.randomUUIDv7()}") { id } }` }),
  })
  const text = await response.text()
  expect(text).toContain('"code":"internal"')
  expect(text).toEndWith('event: complete\ndata:\n\n')
  expect(text).not.toContain('password_hash')
  const fault = { fields: expect.objectContaining({ error: new Error(secret) }), message: 'a GraphQL field failed' }
  expect(logged).toContainEqual(fault)
})
