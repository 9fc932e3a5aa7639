import { expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { weaknessOf } from './secrets.ts'

test('a secret that was drawn by chance is strong', () => {
  for (const encoding of ['base64url', 'hex', 'base64'] as const)
    for (let time = 0; time < 200; time += 1) expect(weaknessOf(randomBytes(32).toString(encoding))).toBeUndefined()
})

const weak: Record<string, string> = {
  'one character': 'x'.repeat(40),
  'few characters': 'abcabcabcbacbacbabcabcabacbabcabcabc',
  'a word again and again': 'Secret-42'.repeat(5),
  'a word again and again, cut off': 'Secret-42'.repeat(5).slice(0, 40),
  'what JWT debuggers show': 'your-256-bit-secret-your-512-bit',
  'what a template asks to be changed': 'please-CHANGE_ME-before-you-go-live-42',
  'what a README shows': 'an-example-secret-of-32-bytes-and-more',
}
for (const [name, secret] of Object.entries(weak)) {
  test(`a secret of ${name} is weak`, () => expect(weaknessOf(secret)).toBeString())
}
