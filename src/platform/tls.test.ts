import { expect, test } from 'bun:test'
import { certify, createAuthority } from '../test/certificates.ts'
import { countCertificates, sslModeOf, tlsOfUrl } from './tls.ts'

const url = (query: string) => `postgres://users:hush@db:5432/bulkhead${query}`

const checked = (query: string, ca?: string) => {
  const options = tlsOfUrl(url(query), { ca })
  if (!options) return 'plain text'
  const { rejectUnauthorized = true, checkServerIdentity } = options
  return { ca: options.ca, authority: rejectUnauthorized, name: rejectUnauthorized && !checkServerIdentity }
}

test('a URL without sslmode, or with disable, is plain text, whatever is trusted', () => {
  expect([checked(''), checked('?sslmode=disable'), checked('', 'ca')]).toEqual([
    'plain text',
    'plain text',
    'plain text',
  ])
})

test('verify-full checks the authority and the name, verify-ca the authority', () => {
  expect(checked('?sslmode=verify-full')).toEqual({ ca: undefined, authority: true, name: true })
  expect(checked('?sslmode=verify-full', 'ca')).toEqual({ ca: 'ca', authority: true, name: true })
  expect(checked('?sslmode=verify-ca', 'ca')).toEqual({ ca: 'ca', authority: true, name: false })
})

test('require checks nothing, and the authority when there is one', () => {
  expect(checked('?sslmode=require')).toEqual({ ca: undefined, authority: false, name: false })
  expect(checked('?sslmode=require', 'ca')).toEqual({ ca: 'ca', authority: true, name: false })
})

test('a mode that may end in plain text, or what would be passed over, is refused and named', () => {
  for (const mode of ['allow', 'prefer', 'on', ''])
    expect(() => sslModeOf(url(`?sslmode=${mode}`))).toThrow(
      'must have a sslmode out of disable, require, verify-ca, verify-full',
    )
  for (const name of ['sslrootcert', 'sslcert', 'ssl'])
    expect(() => sslModeOf(url(`?sslmode=verify-full&${name}=x`))).toThrow(`must not set ${name}`)
})

test('certificates are counted, and text that only looks like one is refused', async () => {
  const authority = await createAuthority()
  const server = await certify(authority, ['localhost'])
  expect([authority.cert + server.cert, server.cert, server.key, ''].map(countCertificates)).toEqual([2, 1, 0, 0])
  expect(() => countCertificates('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----')).toThrow()
})
