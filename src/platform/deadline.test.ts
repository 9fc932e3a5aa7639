import { expect, test } from 'bun:test'
import { within } from './deadline.ts'

const late = () => new Error('late')
const never = new Promise<never>(() => undefined)

test('work that ends in time is what it came to', async () => {
  expect(await within(Promise.resolve(1), 60_000, late)).toBe(1)
  expect(within(Promise.reject(new Error('broken')), 60_000, late)).rejects.toThrow('broken')
})

test('work that does not end is late', () => {
  expect(within(never, 1, late)).rejects.toThrow('late')
})

test('work that fails when nobody waits for it any more is no fault of the process', async () => {
  const { promise, reject } = Promise.withResolvers<never>()
  expect(within(promise, 1, late)).rejects.toThrow('late')
  reject(new Error('broken'))
})
