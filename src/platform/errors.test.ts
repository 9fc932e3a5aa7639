import { expect, test } from 'bun:test'
import { DomainError, UnavailableError, certificateFault, isTransient, messageOf, violates } from './errors.ts'

const coded = (code: string) => Object.assign(new Error(code), { code })
const wrapped = (cause: unknown) => new Error('outer', { cause: new Error('inner', { cause }) })

for (const code of [
  'CONNECTION_CLOSED',
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  '08006',
  '40001',
  '40P01',
  '53300',
  '57P01',
  '57P03',
  '55P03',
  'CERT_HAS_EXPIRED',
]) {
  test(`${code} may pass, however deep it lies`, () => {
    expect(isTransient(coded(code))).toBe(true)
    expect(isTransient(wrapped(coded(code)))).toBe(true)
  })
}

for (const code of ['23505', '42501', '22021', '57014', '25P02', 'XX000', '']) {
  test(`${code || 'an empty code'} does not pass by waiting`, () => {
    expect(isTransient(wrapped(coded(code)))).toBe(false)
  })
}

test('an unavailable service may pass, a refusal and a plain fault do not', () => {
  expect(isTransient(wrapped(new UnavailableError('away')))).toBe(true)
  for (const error of [new DomainError('no', 'No.'), new Error('x'), 'x', undefined, null, 1])
    expect(isTransient(error)).toBe(false)
})

test('a certificate that is not trusted is told from every other fault, with what to do', () => {
  expect(certificateFault(wrapped(coded('UNABLE_TO_VERIFY_LEAF_SIGNATURE')))).toBe(
    'comes from no CA that is trusted here: set TLS_CA_FILE to the certificates of those that are (UNABLE_TO_VERIFY_LEAF_SIGNATURE)',
  )
  expect(certificateFault(coded('ERR_TLS_CERT_ALTNAME_INVALID'))).toStartWith('is for another host')
  expect(certificateFault(wrapped(coded('ECONNREFUSED')))).toBeUndefined()
})

test('an error that is its own cause ends the search', () => {
  const error = new Error('loop')
  error.cause = error
  expect(isTransient(error)).toBe(false)
})

test('a constraint is recognised through wrapping errors, and only by its own name', () => {
  const error = wrapped(Object.assign(new Error('duplicate key'), { constraint_name: 'users_email_key' }))
  expect(violates(error, 'users_email_key')).toBe(true)
  expect(violates(error, 'users_pkey')).toBe(false)
  expect(violates('users_email_key', 'users_email_key')).toBe(false)
})

test('whatever was thrown has a message', () => {
  expect([new Error('a'), 'b', 3].map(messageOf)).toEqual(['a', 'b', '3'])
})
