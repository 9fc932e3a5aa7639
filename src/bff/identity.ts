import { SignJWT, decodeProtectedHeader, jwtVerify } from 'jose'
import { unauthenticated } from './problems.ts'

export type Role = 'customer' | 'operator'

export type Identity = { userId: string; role: Role; tokenId: string; expiresAt: Date }

export type Tokens = {
  /** A signed token for the user, with its expiry. */
  issue(user: { userId: string; role: Role }): Promise<{ token: string; expiresAt: Date }>
  /** Who the token names. @throws DomainError `unauthenticated` when it is forged, malformed, expired or of an unknown key */
  verify(token: string): Promise<Identity>
}

export type TokensOptions = {
  /** The first signs, all verify: a key is rotated by putting the new one in front. */
  keys: { kid: string; secret: string }[]
  ttlSeconds: number
  now?: () => Date
}

const issuer = 'bulkhead'
const cachedTokens = 10_000

/** Signs and verifies session tokens (JWT, HS256). Verified tokens are remembered, since verifying costs more than the rest of a read. */
export const createTokens = ({ keys, ttlSeconds, now = () => new Date() }: TokensOptions): Tokens => {
  const secrets = new Map(keys.map(({ kid, secret }) => [kid, new TextEncoder().encode(secret)]))
  const [signing] = keys
  if (!signing) throw new Error('There is no key to sign tokens with.')
  const verified = new Map<string, Identity>()

  const check = async (token: string): Promise<Identity> => {
    const { kid = '' } = decodeProtectedHeader(token)
    const secret = secrets.get(kid)
    if (!secret) throw unauthenticated()
    const options = { algorithms: ['HS256'], issuer, currentDate: now(), requiredClaims: ['sub', 'jti', 'exp', 'role'] }
    const { payload } = await jwtVerify(token, secret, options)
    const role: Role = payload['role'] === 'operator' ? 'operator' : 'customer'
    return {
      userId: payload.sub ?? '',
      role,
      tokenId: payload.jti ?? '',
      expiresAt: new Date((payload.exp ?? 0) * 1_000),
    }
  }

  return {
    issue: async ({ userId, role }) => {
      const issuedAt = Math.floor(now().getTime() / 1_000)
      const expiresAt = issuedAt + ttlSeconds
      const token = await new SignJWT({ role })
        .setProtectedHeader({ alg: 'HS256', kid: signing.kid, typ: 'JWT' })
        .setSubject(userId)
        .setJti(Bun.randomUUIDv7())
        .setIssuer(issuer)
        .setIssuedAt(issuedAt)
        .setExpirationTime(expiresAt)
        .sign(new TextEncoder().encode(signing.secret))
      return { token, expiresAt: new Date(expiresAt * 1_000) }
    },
    verify: async (token) => {
      const known = verified.get(token)
      if (known && known.expiresAt > now()) return known
      verified.delete(token)
      const identity = await check(token).catch(() => {
        throw unauthenticated()
      })
      if (verified.size >= cachedTokens) verified.delete(verified.keys().next().value ?? '')
      verified.set(token, identity)
      return identity
    },
  }
}
