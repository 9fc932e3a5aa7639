import { expect, test } from 'bun:test'
import { z } from 'zod'
import { decodeOnce } from './decode.ts'

const counted = () => {
  let parsed = 0
  const schema = z.object({ id: z.string() }).transform((value) => {
    parsed += 1
    return value
  })
  return { schema, parsed: () => parsed }
}

test('a text is decoded once, however often it is read', () => {
  const { schema, parsed } = counted()
  const decode = decodeOnce(schema)
  for (let read = 0; read < 3; read += 1) expect(decode('{"id":"a"}')).toEqual({ id: 'a' })
  expect(decode('{"id":"b"}')).toEqual({ id: 'b' })
  expect(parsed()).toBe(2)
})

test('only so many texts are remembered, the latest', () => {
  const { schema, parsed } = counted()
  const decode = decodeOnce(schema, 2)
  for (const id of ['a', 'b', 'c', 'c', 'b', 'a']) decode(JSON.stringify({ id }))
  expect(parsed()).toBe(4)
})

test('what does not fit is refused each time', () => {
  const decode = decodeOnce(z.object({ id: z.string() }))
  for (const text of ['{"id":1}', '{', '{"id":1}']) expect(() => decode(text)).toThrow()
})

test('what is shared cannot be changed', () => {
  const decode = decodeOnce(z.object({ id: z.string() }))
  expect(() => Object.assign(decode('{"id":"a"}'), { id: 'b' })).toThrow()
})
