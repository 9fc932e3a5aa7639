import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { startTestApp } from '../test/app.ts'
import { createClient, freshEmail, refusal } from '../test/client.ts'
import { openTestRedis } from '../test/redis.ts'

setDefaultTimeout(120_000)

const limits = { REGISTRATIONS_PER_ADDRESS: '2', SIGN_INS_PER_ADDRESS: '3' }
const app = await startTestApp({ ...limits, TRUSTED_PROXIES: '127.0.0.0/8,::1,10.0.0.0/8' })
const client = createClient(app.url)
const redis = openTestRedis(app.environment)

afterAll(async () => {
  redis.disconnect()
  await app.stop()
})

const tooMany = { status: 429, code: 'too-many-attempts' }

/** An address that nothing has come from before. */
const freshAddress = () => `192.0.2.${Math.floor(Math.random() * 256)}, 198.51.100.${counted++ % 256}`
let counted = Math.floor(Math.random() * 256)

const password = 'correct horse battery staple'
const register = (forwarded: string) =>
  client.send('POST', '/users', {
    body: { name: 'Ada', email: freshEmail(), password },
    headers: { 'x-forwarded-for': forwarded },
  })
const signIn = (forwarded: string) =>
  client.send('POST', '/sessions', {
    body: { email: freshEmail(), password },
    headers: { 'x-forwarded-for': forwarded },
  })

const clear = async () => {
  const keys = await redis.keys('bff:*')
  if (keys.length > 0) await redis.del(...keys)
}

describe('registrations from one address', () => {
  test('are refused from one too many on, with when to come back, and make nobody', async () => {
    await clear()
    const address = freshAddress()
    for (let time = 0; time < 2; time += 1) expect((await register(address)).status).toBe(201)
    const refused = await register(address)
    expect(refusal(refused)).toEqual(tooMany)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(60)
    expect((await register(freshAddress())).status).toBe(201)
  })

  test('count also over GraphQL, each field', async () => {
    await clear()
    const input = () => `{ name: "Ada", email: "${freshEmail()}", password: "${password}" }`
    const fields = ['a', 'b', 'c', 'd'].map((alias) => `${alias}: registerUser(input: ${input()}) { id }`)
    const headers = { 'x-forwarded-for': freshAddress() }
    const { errors } = await client.graphql(`mutation { ${fields.join(' ')} }`, {}, { headers })
    expect(errors?.map(({ extensions }) => extensions.code)).toContain('too-many-attempts')
  })
})

test('sign-ins from one address are refused from one too many on, whatever account they try', async () => {
  await clear()
  const address = freshAddress()
  for (let time = 0; time < 3; time += 1) expect((await signIn(address)).status).toBe(401)
  expect(refusal(await signIn(address))).toEqual(tooMany)
  expect((await signIn(freshAddress())).status).toBe(401)
})

describe('the address of a client behind our proxies', () => {
  const exhaust = async (forwarded: string) => {
    await clear()
    for (let time = 0; time < 3; time += 1) expect((await signIn(forwarded)).status).toBe(401)
  }

  test('is the last that is not a proxy, whatever the client says came before', async () => {
    await exhaust('203.0.113.7')
    for (const forwarded of ['1.1.1.1, 203.0.113.7', '2.2.2.2,203.0.113.7,10.0.0.9', 'x, 203.0.113.7'])
      expect(refusal(await signIn(forwarded))).toEqual(tooMany)
    expect((await signIn('203.0.113.7, 203.0.113.8')).status).toBe(401)
  })

  test('is the same in IPv6 clothes, and for all of an IPv6 network', async () => {
    await exhaust('203.0.113.7')
    expect(refusal(await signIn('::ffff:203.0.113.7'))).toEqual(tooMany)
    await exhaust('2001:db8:7:7::1')
    expect(refusal(await signIn('2001:db8:7:7:dead::2'))).toEqual(tooMany)
    expect((await signIn('2001:db8:7:8::1')).status).toBe(401)
  })

  test('is the proxy itself where what it forwards is no address', async () => {
    await exhaust('nonsense')
    expect(refusal(await signIn('203.0.113.9, <script>'))).toEqual(tooMany)
  })
})

test('a peer that is no proxy of ours is believed nothing', async () => {
  await clear()
  const plain = await startTestApp(limits)
  try {
    const direct = createClient(plain.url)
    const attempt = (forwarded: string) =>
      direct.send('POST', '/sessions', {
        body: { email: freshEmail(), password },
        headers: { 'x-forwarded-for': forwarded },
      })
    for (const forwarded of ['1.1.1.1', '2.2.2.2', '3.3.3.3']) expect((await attempt(forwarded)).status).toBe(401)
    expect(refusal(await attempt('4.4.4.4'))).toEqual(tooMany)
  } finally {
    await plain.stop()
  }
})

test('Redis holds the counts under no name that says whose they are', async () => {
  await clear()
  await signIn('203.0.113.7')
  const keys = await redis.keys('bff:*')
  expect(keys).toHaveLength(1)
  expect(keys.join()).not.toContain('203.0.113')
})
