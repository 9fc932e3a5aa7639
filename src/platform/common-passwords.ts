import { dictionary } from '@zxcvbn-ts/language-common'

const common = new Set(dictionary['passwords-common'])

/** Whether the password is among the fifty thousand that leaked most often, whatever the case of its letters. */
export const isCommonPassword = (password: string): boolean => common.has(password.toLowerCase())
