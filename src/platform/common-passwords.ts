import { dictionary } from '@zxcvbn-ts/language-common'

/** 53 bits: one password in 10^11 has by chance the hash of a common one. */
const hashOf = (password: string): number => Number(Bun.hash(password) >> 11n)

const texts = dictionary['passwords-common']
const common = new Set(texts.map(hashOf))
// So many small strings would be a quarter of the heap of an idle process, and every collection would look at each of them.
texts.length = 0

/** Whether the password is among the fifty thousand that leaked most often, whatever the case of its letters. */
export const isCommonPassword = (password: string): boolean => common.has(hashOf(password.toLowerCase()))
