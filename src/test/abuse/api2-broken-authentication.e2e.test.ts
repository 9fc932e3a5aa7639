import { expect, setDefaultTimeout, test } from 'bun:test'
import { SignJWT, UnsecuredJWT, decodeJwt } from 'jose'
import { freshEmail } from '../client.ts'
import { openWorld } from './world.ts'

setDefaultTimeout(120_000)

const { attacker, client, environment, refuses, state, victim } = await openWorld()

const [kid = '', secret = ''] = (environment['JWT_KEYS'] ?? '').split(',')[0]?.split(':') ?? []
const { iat: _, ...right } = decodeJwt(attacker.token)
const [header = '', payload = '', signature = ''] = attacker.token.split('.')
const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
const sign = (claims: object, protectedHeader: { alg: string; kid: string }, key = secret) =>
  new SignJWT({ ...right, ...claims }).setProtectedHeader(protectedHeader).sign(new TextEncoder().encode(key))
const known = { alg: 'HS256', kid }
const asVictim = { sub: victim.id, role: 'operator' }

const closed = await client.signUp('Ghost')
await client.send('DELETE', `/users/${closed.id}`, { token: closed.token })
const signedOut = await client.signUp('Sleeper')
await client.send('DELETE', '/sessions/current', { token: signedOut.token })

const forged: Record<string, string> = {
  'is signed with a secret of the attacker': await sign(asVictim, known, 'm'.repeat(48)),
  'is signed with the empty secret of a key that is not there': await sign(asVictim, { alg: 'HS256', kid: '' }, ' '),
  'names a file as its key': await sign(asVictim, { alg: 'HS256', kid: '../../../../dev/null' }, ' '),
  'names a statement as its key': await sign(asVictim, { alg: 'HS256', kid: "x' union select 'k" }, 'k'.repeat(32)),
  'names a property of every object as its key': await sign(
    asVictim,
    { alg: 'HS256', kid: '__proto__' },
    'k'.repeat(32),
  ),
  'says that it needs no signature': new UnsecuredJWT({ ...right, ...asVictim }).encode(),
  'says so in other letters': `${encode({ alg: 'nOnE', kid })}.${encode({ ...right, ...asVictim })}.`,
  'has lost its signature': `${header}.${payload}.`,
  'has the signature of another': `${header}.${encode({ ...right, ...asVictim })}.${signature}`,
  'was made an operator’s after it was signed': `${header}.${encode({ ...right, role: 'operator' })}.${signature}`,
  'uses another algorithm with the right secret': await sign({}, { alg: 'HS512', kid }),
  'has expired': await sign({ exp: Math.floor(Date.now() / 1_000) - 1 }, known),
  'expired before there were computers': await sign({ exp: 0 }, known),
  'is not valid yet': await sign({ nbf: Math.floor(Date.now() / 1_000) + 3_600 }, known),
  'comes from another issuer': await sign({ iss: 'mallory' }, known),
  'has no end': await sign({ exp: undefined }, known),
  'is of an account that was closed': closed.token,
  'was signed out': signedOut.token,
  'is two': `${attacker.token},${attacker.token}`,
  'is as long as a book': `${header}.${'A'.repeat(7_000)}.${signature}`,
}

const unauthenticated = { status: 401, code: 'unauthenticated' }

refuses(
  Object.entries(forged).map(([name, token]) => ({
    name: `a token ${name}`,
    send: () => client.send('PATCH', `/users/${victim.id}`, { token, body: { name: 'Mallory' } }),
    ...unauthenticated,
  })),
)

refuses([
  {
    name: 'a token in the query',
    send: () => client.send('GET', `/users/${victim.id}?access_token=${victim.token}`),
    ...unauthenticated,
  },
  {
    name: 'a token in a cookie',
    send: () => client.send('GET', `/users/${victim.id}`, { headers: { cookie: `token=${victim.token}` } }),
    ...unauthenticated,
  },
  {
    name: 'a name and a password in place of a token',
    send: () =>
      client.send('GET', `/users/${victim.id}`, {
        headers: { authorization: `Basic ${btoa(`${victim.email}:${victim.password}`)}` },
      }),
    ...unauthenticated,
  },
  {
    name: 'a password that is an operator of a query language',
    send: () => client.send('POST', '/sessions', { body: { email: victim.email, password: { $ne: '' } } }),
    status: 400,
    code: 'invalid-input',
  },
  {
    name: 'an email that ends a statement',
    send: () => client.send('POST', '/sessions', { body: { email: `${victim.email}' or '1'='1`, password: 'x' } }),
    status: 401,
    code: 'bad-credentials',
  },
  {
    name: 'a password that everybody guesses first',
    send: () => client.send('POST', '/users', { body: { name: 'M', email: freshEmail(), password: 'Password123' } }),
    status: 400,
    code: 'invalid-input',
  },
  {
    name: 'a password that is the email',
    send: () =>
      client.send('POST', '/users', { body: { name: 'M', email: 'm@example.com', password: 'M@example.com' } }),
    status: 400,
    code: 'invalid-input',
  },
])

test('guesses of one password are cut off, also when GraphQL requests hold several', async () => {
  const before = await state()
  const email = freshEmail()
  const guess = (alias: string) =>
    `${alias}: createSession(input: { email: "${email}", password: "${alias}" }) { token }`
  const codes: unknown[] = []
  for (let request = 0; request < 7; request += 1) {
    const { data, errors } = await client.graphql(`mutation { ${['a', 'b', 'c'].map(guess).join(' ')} }`)
    expect(data).toBeFalsy()
    codes.push(...(errors ?? []).map(({ extensions }) => extensions.code))
  }
  expect(codes.at(-1)).toBe('too-many-attempts')
  expect(codes.filter((code) => code === 'bad-credentials').length).toBeLessThanOrEqual(5)
  expect(await state()).toEqual(before)
})
