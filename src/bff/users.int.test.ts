import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type UserSnapshot, userSnapshot } from '#modules/users'
import { startTestApp } from '../test/app.ts'
import { type Account, consistency, createClient, freshEmail, refusal } from '../test/client.ts'
import { eventually } from '../test/eventually.ts'
import { openTestRedis } from '../test/redis.ts'
import { encodeConsistency } from './consistency.ts'

setDefaultTimeout(60_000)

const app = await startTestApp()
const client = createClient(app.url)
const redis = openTestRedis(app.environment)
const { OPERATOR_EMAIL = '', OPERATOR_PASSWORD = '' } = app.environment
const operator = await client.signIn(OPERATOR_EMAIL, OPERATOR_PASSWORD)

afterAll(async () => {
  redis.disconnect()
  await app.stop()
})

const registration = () => ({ name: 'Ada', email: freshEmail(), password: 'correct horse battery staple' })

const notFound = { status: 404, code: 'user-not-found' }

const waitingFor = (id: string, version: number) => ({
  'consistency-token': encodeConsistency([{ module: 'users', thing: 'user', id, version }]),
})

describe('a registration is refused with a 400 that names the field', () => {
  const ill: [string, unknown, string[]][] = [
    ['without anything', {}, ['name', 'email', 'password']],
    ['with what is not text', { name: 1, email: [], password: {} }, ['name', 'email', 'password']],
    ['without a name', { ...registration(), name: '' }, ['name']],
    ['with a name of spaces', { ...registration(), name: ' \t ' }, ['name']],
    ['with a NUL in the name', { ...registration(), name: 'a\0b' }, ['name']],
    ['with a line break in the name', { ...registration(), name: 'a\nb' }, ['name']],
    ['with half a surrogate pair in the name', { ...registration(), name: 'a\ud800b' }, ['name']],
    ['with a name that is too long', { ...registration(), name: 'x'.repeat(201) }, ['name']],
    ['with an email that is none', { ...registration(), email: 'ada' }, ['email']],
    ['with a NUL in the email', { ...registration(), email: 'a\0@example.com' }, ['email']],
    ['with an email that is too long', { ...registration(), email: `${'x'.repeat(250)}@example.com` }, ['email']],
    ['with a password that is too short', { ...registration(), password: '1234567' }, ['password']],
    ['with a password without end', { ...registration(), password: 'x'.repeat(129) }, ['password']],
    ['with a body that is null', null, ['']],
    ['with a body that is a list', [], ['']],
    ['with a body that is broken JSON', '{"name":', ['']],
    ['with an empty body', '', ['']],
  ]
  for (const [name, body, paths] of ill) {
    test(name, async () => {
      const answer = await client.send('POST', '/users', { body })
      expect(answer.body).toMatchObject({
        status: 400,
        title: 'Invalid input',
        errors: paths.map((path) => ({ path })),
      })
    })
  }
})

describe('a registration', () => {
  test('is refused with a 415 when its body is not JSON by its media type', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp']) {
      const sent = { body: JSON.stringify(registration()), headers: { 'content-type': type } }
      expect((await client.send('POST', '/users', sent)).status).toBe(415)
    }
  })

  test('may name the charset of its JSON', async () => {
    const headers = { 'content-type': 'application/json; charset=utf-8' }
    expect((await client.send('POST', '/users', { body: registration(), headers })).status).toBe(201)
  })

  test('keeps a name in any script as it is, without the space around it', async () => {
    for (const name of ['Þórður', '山田 太郎', "O'Brien'); drop table users; --", '👩‍🔬', 'x'.repeat(200)]) {
      const answer = await client.send('POST', '/users', { body: { ...registration(), name: ` ${name} ` } })
      const user = userSnapshot.parse(answer.body)
      const read = { token: operator, headers: consistency(answer) }
      expect((await client.send('GET', `/users/${user.id}`, read)).body).toEqual({ ...user, name })
    }
  })

  test('cannot make itself an operator, or choose an id', async () => {
    const body = { ...registration(), role: 'operator', id: Bun.randomUUIDv7(), status: 'closed', version: 9 }
    const answer = await client.send('POST', '/users', { body })
    expect(answer.body).toMatchObject({ status: 'active', version: 1 })
    const { id } = userSnapshot.parse(answer.body)
    expect(id).not.toBe(body.id)
    const token = await client.signIn(body.email, body.password)
    const answered = await client.send('GET', '/ops/dead-letters', { token, headers: consistency(answer) })
    expect(refusal(answered)).toEqual({ status: 403, code: 'forbidden' })
  })

  test('is refused for an email that is taken, whatever its case', async () => {
    const { email } = await client.signUp()
    for (const spelt of [email, email.toLowerCase(), email.toUpperCase()]) {
      const answer = await client.send('POST', '/users', { body: { ...registration(), email: spelt } })
      expect(refusal(answer)).toEqual({ status: 409, code: 'email-taken' })
    }
  })
})

describe('an id', () => {
  const unknown = Bun.randomUUIDv7()
  const requests = [
    ['GET', undefined],
    ['PATCH', { name: 'Mine now' }],
    ['DELETE', undefined],
  ] as const

  for (const [method, body] of requests) {
    const sent = (token: string) => ({ token, ...(body === undefined ? {} : { body }) })

    test(`that nobody has is a 404 to an operator, titled User not found: ${method}`, async () => {
      const answer = await client.send(method, `/users/${unknown}`, sent(operator))
      expect(answer.body).toMatchObject({ ...notFound, title: 'User not found' })
    })

    test(`of somebody else is answered as one that nobody has: ${method}`, async () => {
      const [ada, eve] = await Promise.all([client.signUp(), client.signUp()])
      const missing = await client.send(method, `/users/${unknown}`, sent(eve.token))
      const foreign = await client.send(method, `/users/${ada.id}`, sent(eve.token))
      expect(refusal(missing)).toEqual(notFound)
      expect([foreign.status, foreign.body]).toEqual([missing.status, missing.body])
      const own = ({ headers }: typeof missing) => [...headers.keys()].filter((name) => name !== 'date')
      expect(own(foreign)).toEqual(own(missing))
      const { body: after } = await client.send('GET', `/users/${ada.id}`, { token: ada.token })
      expect(after).toEqual(ada.user)
    })

    test(`that is no UUID is a 400: ${method}`, async () => {
      for (const id of ['1', 'me', `${unknown}0`, '%00', "' or 1=1"]) {
        const answer = await client.send(method, `/users/${encodeURIComponent(id)}`, sent(operator))
        expect(answer.body).toMatchObject({ status: 400, errors: [{ path: 'id' }] })
      }
    })
  }

  test('is the same in capitals', async () => {
    const { id, token, user } = await client.signUp()
    const path = `/users/${id.toUpperCase()}`
    for (const reader of [token, operator])
      expect((await client.send('GET', path, { token: reader })).body).toEqual(user)
    expect((await client.send('PATCH', path, { token, body: { name: 'Same' } })).status).toBe(200)
  })

  test('of anybody is read and renamed by an operator', async () => {
    const { id, user } = await client.signUp()
    expect((await client.send('GET', `/users/${id}`, { token: operator })).body).toEqual(user)
    const renamed = await client.send('PATCH', `/users/${id}`, { token: operator, body: { name: 'Renamed' } })
    expect(renamed.body).toEqual({ ...user, name: 'Renamed', version: 2 })
  })
})

test('a new name is checked like the first one', async () => {
  const { id, token, user } = await client.signUp()
  for (const name of [undefined, null, 1, '', ' ', 'a\0b', 'a\ud800', 'x'.repeat(201)]) {
    const answer = await client.send('PATCH', `/users/${id}`, { token, body: { name } })
    expect(answer.body).toMatchObject({ status: 400, errors: [{ path: 'name' }] })
  }
  expect((await client.send('GET', `/users/${id}`, { token })).body).toEqual(user)
})

/** Reads with a token of a version that does not exist yet, and makes that version only then. */
const readAhead = async <Read>({ id, token }: Account, read: (headers: Record<string, string>) => Promise<Read>) => {
  const reading = read(waitingFor(id, 2))
  const renamed = await client.send('PATCH', `/users/${id}`, { token, body: { name: 'Later' } })
  expect(renamed.headers.get('consistency-token')).toBe(waitingFor(id, 2)['consistency-token'])
  return reading
}

describe('a read with a Consistency-Token', () => {
  test('answers with the change even when it comes after the read', async () => {
    const account = await client.signUp()
    const { id, token, user } = account
    const read = await readAhead(account, (headers) => client.send('GET', `/users/${id}`, { token, headers }))
    expect(read.body).toEqual({ ...user, name: 'Later', version: 2 })
  })

  test('waits over GraphQL too', async () => {
    const account = await client.signUp()
    const { token } = account
    const read = await readAhead(account, (headers) => client.graphql('{ me { name } }', {}, { token, headers }))
    expect(read.data).toEqual({ me: { name: 'Later' } })
  })

  test('finds the user that was registered just before, each time of fifty', async () => {
    for (let time = 0; time < 50; time += 1) {
      const id = Bun.randomUUIDv7()
      const user: UserSnapshot = { id, name: 'x', email: 'x', status: 'active', version: 1, createdAt: '' }
      const reading = client.send('GET', `/users/${id}`, { token: operator, headers: waitingFor(id, 1) })
      await redis.set(`users:user:${id}`, JSON.stringify({ ...user, createdAt: new Date().toISOString() }))
      expect((await reading).status).toBe(200)
      await redis.del(`users:user:${id}`)
    }
  })

  test('is a 503 with Retry-After when the change does not come', async () => {
    const { id, token } = await client.signUp()
    const answer = await client.send('GET', `/users/${id}`, { token, headers: waitingFor(id, 99) })
    expect(refusal(answer)).toEqual({ status: 503, code: 'unavailable' })
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  test('is a 400 when no command gave the token', async () => {
    const { id, token } = await client.signUp()
    const foreign = Buffer.from(`orders/secret/${id}/1`).toString('base64url')
    for (const given of ['garbage', '!!!', Buffer.from('users/user/1/1').toString('base64url'), foreign]) {
      const answer = await client.send('GET', `/users/${id}`, { token, headers: { 'consistency-token': given } })
      expect(refusal(answer)).toEqual({ status: 400, code: 'bad-consistency-token' })
    }
  })
})

describe('the name of the story', () => {
  test('is the one that the client sent, on every route', async () => {
    for (const path of ['/livez', '/nowhere', '/users/1', '/graphql?query={me{id}}']) {
      for (const sent of ['Web:2026-01.a_b', 'dGhlIHN0b3J5+/==', 'x'.repeat(128)]) {
        const answer = await client.send('GET', path, { headers: { 'correlation-id': sent } })
        expect(answer.headers.get('correlation-id')).toBe(sent)
      }
    }
  })

  test('is a new one when the client sent none, or one that does not belong in a log', async () => {
    for (const sent of [undefined, '', 'a b', 'x'.repeat(129), '{"level":60}', '<script>', 'a,b']) {
      const headers: Record<string, string> = sent === undefined ? {} : { 'correlation-id': sent }
      const answer = await client.send('GET', '/livez', { headers })
      expect(answer.headers.get('correlation-id')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/)
    }
  })
})

describe('a body beyond the limit is refused as a problem', () => {
  const tooLarge = { status: 413, code: 'too-large' }

  for (const bytes of [100_001, 1_000_000, 20_000_000]) {
    test(`with ${bytes} bytes`, async () => {
      const body = JSON.stringify('x'.repeat(bytes - 2))
      for (const path of ['/users', '/sessions', '/graphql'])
        expect(refusal(await client.send('POST', path, { body }))).toEqual(tooLarge)
    })
  }

  test('without a length, in pieces', async () => {
    const piece = new TextEncoder().encode('x'.repeat(10_000))
    const pieces = () => new ReadableStream({ pull: (stream) => stream.enqueue(piece) })
    expect(refusal(await client.send('POST', '/users', { body: pieces() }))).toEqual(tooLarge)
  })

  test('and one within it is read', async () => {
    const body = { name: 'x'.repeat(99_900) }
    expect((await client.send('POST', '/users', { body })).status).toBe(400)
  })
})

test('a route that does not exist is a 404 problem, whatever the method', async () => {
  const requests = ['GET /', 'GET /nowhere', 'PUT /nowhere', 'POST /users/1/2', 'GET /docs/../package.json']
  for (const request of requests) {
    const [method = '', path = ''] = request.split(' ')
    expect(refusal(await client.send(method, path))).toEqual({ status: 404, code: 'not-found' })
  }
})

test('what Redis holds is what is answered, and the tables are not read', async () => {
  const { id, token, user } = await client.signUp()
  await redis.set(`users:user:${id}`, JSON.stringify({ ...user, name: 'Only in Redis' }))
  expect((await client.send('GET', `/users/${id}`, { token })).body).toEqual({ ...user, name: 'Only in Redis' })
  await redis.del(`users:user:${id}`)
  expect(refusal(await client.send('GET', `/users/${id}`, { token }))).toEqual(notFound)
})

test('a user whose snapshot is wiped is unavailable or there, and never missing', async () => {
  const { id, token, user } = await client.signUp()
  const seen = new Set<number>()
  for (let time = 0; time < 5; time += 1) {
    await redis.flushall()
    await eventually(async () => {
      const answer = await client.send('GET', `/users/${id}`, { token })
      seen.add(answer.status)
      if (answer.status === 503) expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(answer.body).toEqual(user)
    })
  }
  expect(seen).toEqual(new Set([200, 503]))
})
