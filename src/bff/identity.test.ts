import { describe, expect, test } from 'bun:test'
import { type JWTPayload, SignJWT, UnsecuredJWT, decodeJwt, decodeProtectedHeader } from 'jose'
import { createTokens } from './identity.ts'

const old = { kid: 'old', secret: 'an old secret of at least 32 bytes' }
const next = { kid: 'next', secret: 'the next secret, also of 32 bytes' }
const user = { userId: '0198c0de-0000-7000-8000-000000000001', role: 'operator' } as const
const start = new Date('2026-01-31T12:00:00.000Z')

const tokensOf = (keys = [old], now = () => start) => createTokens({ keys, ttlSeconds: 60, now })

const refused = expect.objectContaining({ code: 'unauthenticated' })

type Forgery = { claims?: JWTPayload; header?: { alg: string; kid?: string }; secret?: string }

/** A token that is right but for what is given. */
const forge = ({ claims = {}, header = { alg: 'HS256', kid: 'old' }, secret = old.secret }: Forgery = {}) => {
  const time = start.getTime() / 1_000
  const right = { sub: user.userId, jti: 'a-token', iss: 'bulkhead', iat: time, exp: time + 60, role: 'operator' }
  const payload = JSON.parse(JSON.stringify({ ...right, ...claims })) as JWTPayload
  return new SignJWT(payload).setProtectedHeader(header).sign(new TextEncoder().encode(secret))
}

describe('a token', () => {
  test('names the user, the role and when it expires', async () => {
    const tokens = tokensOf()
    const { token, expiresAt } = await tokens.issue(user)
    expect(expiresAt).toEqual(new Date('2026-01-31T12:01:00.000Z'))
    expect(await tokens.verify(token)).toEqual({ ...user, expiresAt, tokenId: expect.any(String) })
  })

  test('has an id of its own each time', async () => {
    const tokens = tokensOf()
    const issued = await Promise.all([tokens.issue(user), tokens.issue(user)])
    expect(new Set(issued.map(({ token }) => decodeJwt(token).jti)).size).toBe(2)
  })

  test('holds nothing but ids, the role and times', async () => {
    const { token } = await tokensOf().issue(user)
    expect(Object.keys(decodeJwt(token)).toSorted()).toEqual(['exp', 'iat', 'iss', 'jti', 'role', 'sub'])
  })

  test('is refused from the second that it expires, also when it was verified before', async () => {
    let now = start
    const tokens = tokensOf([old], () => now)
    const { token, expiresAt } = await tokens.issue(user)
    expect(await tokens.verify(token)).toMatchObject(user)
    now = new Date(expiresAt.getTime() - 1)
    expect(await tokens.verify(token)).toMatchObject(user)
    now = expiresAt
    expect(tokens.verify(token)).rejects.toEqual(refused)
    expect(tokensOf([old], () => now).verify(token)).rejects.toEqual(refused)
  })
})

describe('when a key is put in front', () => {
  test('the new key signs, and tokens of the old one stay valid', async () => {
    const before = await tokensOf([old]).issue(user)
    const rotated = tokensOf([next, old])
    const after = await rotated.issue(user)
    expect(decodeProtectedHeader(after.token).kid).toBe('next')
    expect(await rotated.verify(before.token)).toMatchObject(user)
    expect(await rotated.verify(after.token)).toMatchObject(user)
  })

  test('a process that has both keys the other way round takes tokens of either', async () => {
    const { token } = await tokensOf([next, old]).issue(user)
    expect(await tokensOf([old, next]).verify(token)).toMatchObject(user)
  })

  test('tokens of a key that was taken away are refused', async () => {
    const { token } = await tokensOf([old]).issue(user)
    expect(tokensOf([next]).verify(token)).rejects.toEqual(refused)
  })
})

describe('refused is', () => {
  test('nothing that is right', async () => {
    expect(await tokensOf().verify(await forge())).toMatchObject(user)
  })

  const forgeries: Record<string, Forgery> = {
    'a signature of another secret under a known kid': { secret: next.secret },
    'an unknown kid': { header: { alg: 'HS256', kid: 'unknown' } },
    'a token without a kid': { header: { alg: 'HS256' } },
    'another algorithm with the right secret': { header: { alg: 'HS512', kid: 'old' } },
    'another issuer': { claims: { iss: 'somebody' } },
    'a token that is not valid yet': { claims: { nbf: start.getTime() / 1_000 + 10 } },
    ...Object.fromEntries(
      ['sub', 'jti', 'exp', 'role', 'iss'].map((claim) => [
        `a token without ${claim}`,
        { claims: { [claim]: undefined } },
      ]),
    ),
  }
  for (const [name, forgery] of Object.entries(forgeries)) {
    test(name, async () => {
      const token = await forge(forgery)
      expect(tokensOf().verify(token)).rejects.toEqual(refused)
    })
  }

  test('alg none, with and without a kid', async () => {
    const claims = { ...decodeJwt(await forge()) }
    const unsigned = new UnsecuredJWT(claims).encode()
    const header = Buffer.from(JSON.stringify({ alg: 'none', kid: 'old' })).toString('base64url')
    for (const token of [unsigned, `${header}.${unsigned.split('.')[1]}.`])
      expect(tokensOf().verify(token)).rejects.toEqual(refused)
  })

  test('a payload that was changed after signing', async () => {
    const [header, payload = '', signature] = (await forge({ claims: { role: 'customer' } })).split('.')
    const changed = Buffer.from(payload, 'base64url').toString().replace('customer', 'operator')
    const token = [header, Buffer.from(changed).toString('base64url'), signature].join('.')
    expect(tokensOf().verify(token)).rejects.toEqual(refused)
  })

  for (const token of ['', 'x', 'a.b.c', '..', `${'x'.repeat(100_000)}.y.z`]) {
    test(`a text that is no token: ${JSON.stringify(token.slice(0, 10))}`, () => {
      expect(tokensOf().verify(token)).rejects.toEqual(refused)
    })
  }
})
