import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { SignJWT, UnsecuredJWT, decodeJwt } from 'jose'
import { z } from 'zod'
import { startTestApp } from '../test/app.ts'
import { consistency, createClient, freshEmail, refusal } from '../test/client.ts'
import { eventually } from '../test/eventually.ts'
import { openTestRedis } from '../test/redis.ts'
import { createTokens } from './identity.ts'

setDefaultTimeout(60_000)

const app = await startTestApp()
const client = createClient(app.url)
const redis = openTestRedis(app.environment)

afterAll(async () => {
  redis.disconnect()
  await app.stop()
})

const [kid = '', secret = ''] = (app.environment['JWT_KEYS'] ?? '').split(':')
const unauthenticated = { status: 401, code: 'unauthenticated' }
const badCredentials = { status: 401, code: 'bad-credentials' }

const attempt = (email: string, password: string) => client.send('POST', '/sessions', { body: { email, password } })

const fail = async (email: string, times: number) => {
  for (let time = 0; time < times; time += 1)
    expect(refusal(await attempt(email, 'not the password'))).toEqual(badCredentials)
}

/** Takes everything out of Redis, as a restart without a disk would, and waits until it is whole again. */
const wipe = async () => {
  await redis.flushall()
  await eventually(async () => expect((await client.send('GET', '/readyz')).status).toBe(200))
}

describe('signing in', () => {
  test('answers a token that reads the user, until when, and whose it is', async () => {
    const { id, email, password, user } = await client.signUp()
    const answer = await attempt(email, password)
    expect(answer.status).toBe(201)
    const session = z.object({ token: z.string(), expiresAt: z.string(), userId: z.string() }).parse(answer.body)
    expect(session.userId).toBe(id)
    expect(new Date(session.expiresAt).getTime() / 1_000).toBe(decodeJwt(session.token).exp ?? 0)
    const headers = consistency(answer)
    expect((await client.send('GET', `/users/${id}`, { token: session.token, headers })).body).toEqual(user)
  })

  test('takes the email whatever its case', async () => {
    const { email, password } = await client.signUp()
    for (const spelt of [email.toLowerCase(), email.toUpperCase()])
      expect((await attempt(spelt, password)).status).toBe(201)
  })

  test('refuses a wrong password and an unknown email in the same words', async () => {
    const { email } = await client.signUp()
    const wrong = await attempt(email, 'not the password')
    const unknown = await attempt(freshEmail(), 'not the password')
    expect(refusal(wrong)).toEqual(badCredentials)
    expect(unknown.body).toEqual(wrong.body)
  })

  const ill: [string, unknown, string[]][] = [
    ['without anything', {}, ['email', 'password']],
    ['with what is not text', { email: 1, password: null }, ['email', 'password']],
    ['with a NUL in the email', { email: 'a\0@example.com', password: 'x' }, ['email']],
    ['with half a surrogate pair in the email', { email: 'a\ud800@example.com', password: 'x' }, ['email']],
    ['with a password without end', { email: 'a@example.com', password: 'x'.repeat(129) }, ['password']],
  ]
  for (const [name, body, paths] of ill) {
    test(`${name} is a 400 that names the field`, async () => {
      const answer = await client.send('POST', '/sessions', { body })
      expect(answer.status).toBe(400)
      expect(answer.body).toMatchObject({ code: 'invalid-input', errors: paths.map((path) => ({ path })) })
    })
  }
})

describe('after five failures', () => {
  test('an account is locked, also for the right password, and the answer says for how long', async () => {
    const { email, password } = await client.signUp()
    await fail(email, 5)
    for (const tried of ['not the password', password]) {
      const locked = await attempt(email.toUpperCase(), tried)
      expect(refusal(locked)).toEqual({ status: 429, code: 'too-many-attempts' })
      const seconds = Number(locked.headers.get('retry-after'))
      expect(seconds).toBeGreaterThan(0)
      expect(seconds).toBeLessThanOrEqual(15 * 60)
    }
  })

  test('another account is not locked', async () => {
    const [attacked, other] = await Promise.all([client.signUp(), client.signUp()])
    await fail(attacked.email, 5)
    expect((await attempt(other.email, other.password)).status).toBe(201)
  })

  test('an email that nobody has is locked too, so that a lock tells nothing', async () => {
    const email = freshEmail()
    await fail(email, 5)
    expect(refusal(await attempt(email, 'not the password'))).toEqual({ status: 429, code: 'too-many-attempts' })
  })

  test('guesses that were sent all at once are not checked any more', async () => {
    const { email } = await client.signUp()
    const answers = await Promise.all(Array.from({ length: 20 }, () => attempt(email, 'not the password')))
    const checked = answers.filter(({ status }) => status === 401)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(20 - checked.length)
    // Two passwords are checked at once: while the fifth fails, one more may be on its way.
    expect(checked.length).toBeLessThanOrEqual(6)
  })

  test('with a success among them, the count begins again', async () => {
    const { email, password } = await client.signUp()
    await fail(email, 4)
    expect((await attempt(email, password)).status).toBe(201)
    await fail(email, 4)
    expect((await attempt(email, password)).status).toBe(201)
  })

  test('Redis holds the count under no name that says whose it is', async () => {
    const { email } = await client.signUp()
    await fail(email, 1)
    const keys = await redis.keys('users:sign-in-failures:*')
    expect(keys.length).toBeGreaterThan(0)
    expect(keys.join()).not.toContain(email.toLowerCase().split('@')[0] ?? '')
  })
})

describe('signing out', () => {
  test('kills the token at once, and no other session of the user', async () => {
    const { id, token, email, password } = await client.signUp()
    const other = await client.signIn(email, password)
    const answer = await client.send('DELETE', '/sessions/current', { token })
    expect([answer.status, answer.body]).toEqual([204, ''])
    const headers = consistency(answer)
    expect(refusal(await client.send('GET', `/users/${id}`, { token, headers }))).toEqual(unauthenticated)
    expect(refusal(await client.send('DELETE', '/sessions/current', { token }))).toEqual(unauthenticated)
    const renaming = { token, body: { name: 'Ghost' } }
    expect(refusal(await client.send('PATCH', `/users/${id}`, renaming))).toEqual(unauthenticated)
    const { data, errors } = await client.graphql('{ me { id } }', {}, { token })
    expect([data, errors?.[0]?.extensions.code]).toEqual([{ me: null }, 'unauthenticated'])
    expect((await client.send('GET', `/users/${id}`, { token: other, headers })).status).toBe(200)
  })

  test('holds after Redis lost everything', async () => {
    const { id, token, email, password } = await client.signUp()
    const other = await client.signIn(email, password)
    await client.send('DELETE', '/sessions/current', { token })
    await wipe()
    expect(refusal(await client.send('GET', `/users/${id}`, { token }))).toEqual(unauthenticated)
    expect((await client.send('GET', `/users/${id}`, { token: other })).status).toBe(200)
  })

  test('needs a session', async () => {
    expect(refusal(await client.send('DELETE', '/sessions/current'))).toEqual(unauthenticated)
  })
})

const ada = await client.signUp()
const { iat: _, ...right } = decodeJwt(ada.token)
const sign = (claims: object, header: { alg: string; kid: string }, key = secret) =>
  new SignJWT({ ...right, ...claims }).setProtectedHeader(header).sign(new TextEncoder().encode(key))

const authorizations: Record<string, string | undefined> = {
  'is not there': undefined,
  'is empty': 'Bearer ',
  'is no token': 'Bearer abc',
  'comes by another scheme': `Basic ${btoa(`${ada.email}:${ada.password}`)}`,
  'comes without a scheme': ada.token,
  'is signed with another secret': `Bearer ${await sign({}, { alg: 'HS256', kid }, 'x'.repeat(32))}`,
  'names an unknown key': `Bearer ${await sign({}, { alg: 'HS256', kid: 'unknown' })}`,
  'has expired': `Bearer ${await sign({ exp: Math.floor(Date.now() / 1_000) - 1 }, { alg: 'HS256', kid })}`,
  'is not signed': `Bearer ${new UnsecuredJWT(right).encode()}`,
}

describe('a request is refused with 401 and how to sign in, when its token', () => {
  for (const [name, authorization] of Object.entries(authorizations)) {
    test(name, async () => {
      const headers: Record<string, string> = authorization === undefined ? {} : { authorization }
      const answer = await client.send('GET', `/users/${ada.id}`, { headers })
      expect(refusal(answer)).toEqual(unauthenticated)
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
    })
  }

  test('but not when it is right', async () => {
    const signed = await sign({}, { alg: 'HS256', kid })
    expect((await client.send('GET', `/users/${ada.id}`, { token: signed })).status).toBe(200)
  })
})

test('sessions outlive a key rotation, which is a new key in front of the old one', async () => {
  const { id, token } = await client.signUp()
  const next = { kid: 'next', secret: 'n'.repeat(40) }
  const rotated = await startTestApp({ JWT_KEYS: `${next.kid}:${next.secret},${app.environment['JWT_KEYS']}` })
  try {
    const renewed = createClient(rotated.url)
    expect((await renewed.send('GET', `/users/${id}`, { token })).status).toBe(200)
    const issued = await createTokens({ keys: [next], ttlSeconds: 60 }).issue({ userId: id, role: 'customer' })
    expect((await renewed.send('GET', `/users/${id}`, { token: issued.token })).status).toBe(200)
    expect(refusal(await client.send('GET', `/users/${id}`, { token: issued.token }))).toEqual(unauthenticated)
  } finally {
    await rotated.stop()
  }
})
