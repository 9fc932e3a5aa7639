import { afterEach, expect, mock, spyOn, test } from 'bun:test'
import { createPasswords } from './passwords.ts'

afterEach(() => mock.restore())

test('without a hash a password is checked against one like every other, and is wrong', async () => {
  const passwords = createPasswords()
  const hash = await passwords.hash('correct horse')
  const verify = spyOn(Bun.password, 'verify')
  expect(await passwords.verify('correct horse', hash)).toBe(true)
  expect(await passwords.verify('correct horse', undefined)).toBe(false)
  const parameters = verify.mock.calls.map(([, against]) =>
    typeof against === 'string' ? against.split('$').slice(0, 4) : [],
  )
  expect(parameters).toEqual([parameters[0] ?? [], parameters[0] ?? []])
  expect(parameters[0]).toEqual(['', 'argon2id', 'v=19', 'm=19456,t=2,p=1'])
})

test('a hash says nothing of its password, and no two are the same', async () => {
  const passwords = createPasswords()
  const hashes = await Promise.all([passwords.hash('correct horse'), passwords.hash('correct horse')])
  expect(new Set(hashes).size).toBe(2)
  expect(hashes.join()).not.toContain('correct horse')
})
