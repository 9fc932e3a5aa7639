import { expect, test } from 'bun:test'
import { isCommonPassword } from './common-passwords.ts'

test('a password that everybody guesses first is common, whatever its case', () => {
  for (const password of ['password', 'password123', 'PassWord1', '12345678', 'qwertyuiop', 'iloveyou', 'trustno1'])
    expect([password, isCommonPassword(password)]).toEqual([password, true])
})

test('one that nobody has is not', () => {
  for (const password of ['correct horse', 'correct horse battery staple', Bun.randomUUIDv7(), ''])
    expect([password, isCommonPassword(password)]).toEqual([password, false])
})
