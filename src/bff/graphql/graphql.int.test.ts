import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { userSnapshot } from '#modules/users'
import { startTestApp } from '../../test/app.ts'
import { consistency, createClient, freshEmail } from '../../test/client.ts'

setDefaultTimeout(60_000)

const app = await startTestApp()
const client = createClient(app.url)
const fields = 'id name email status version createdAt'

afterAll(() => app.stop())

const document = {
  registerUser: `mutation ($input: RegisterUserInput!) { registerUser(input: $input) { ${fields} } }`,
  createSession: 'mutation ($input: CreateSessionInput!) { createSession(input: $input) { token expiresAt userId } }',
  renameUser: `mutation ($id: ID!, $name: String!) { renameUser(id: $id, name: $name) { ${fields} } }`,
  closeUser: `mutation ($id: ID!) { closeUser(id: $id) { ${fields} } }`,
  user: `query ($id: ID!) { user(id: $id) { ${fields} } }`,
  me: `{ me { ${fields} } }`,
}

const registration = () => ({ name: 'Ada', email: freshEmail(), password: 'correct horse battery staple' })

/** The one error of an answer: where it happened, and its code. */
const failure = ({ errors }: Awaited<ReturnType<typeof client.graphql>>) => {
  expect(errors).toHaveLength(1)
  return [errors?.[0]?.path?.join('.'), errors?.[0]?.extensions.code]
}

describe('over GraphQL', () => {
  test('a life of a user reads and changes what HTTP does', async () => {
    const input = registration()
    const registered = await client.graphql(document.registerUser, { input })
    const user = userSnapshot.parse(registered.data?.['registerUser'])
    expect(user).toMatchObject({ name: 'Ada', email: input.email, status: 'active', version: 1 })

    const credentials = { email: input.email, password: input.password }
    const session = await client.graphql(document.createSession, { input: credentials })
    expect(session.data).toEqual({
      createSession: { token: expect.any(String), expiresAt: expect.any(String), userId: user.id },
    })
    const { token } = z.object({ token: z.string() }).parse(session.data?.['createSession'])

    const signedIn = (answer: typeof registered) => ({ token, headers: consistency(answer) })
    const { data } = await client.graphql(document.user, { id: user.id }, signedIn(registered))
    expect(data).toEqual({ user })

    const renamed = await client.graphql(document.renameUser, { id: user.id, name: ' Countess ' }, { token })
    expect(renamed.data).toEqual({ renameUser: { ...user, name: 'Countess', version: 2 } })
    const me = await client.graphql(document.me, {}, signedIn(renamed))
    expect(me.data).toEqual({ me: { ...user, name: 'Countess', version: 2 } })
    const read = await client.send('GET', `/users/${user.id}`, signedIn(renamed))
    expect(me.data).toEqual({ me: read.body })

    const closed = await client.graphql(document.closeUser, { id: user.id }, { token })
    const nobody = { ...user, name: null, email: null, status: 'closed', version: 3 }
    expect(closed.data).toEqual({ closeUser: nobody })
    expect(failure(await client.graphql(document.me, {}, signedIn(closed)))).toEqual(['me', 'unauthenticated'])
  })

  test('nobody is me, and that is no error', async () => {
    expect((await client.graphql(document.me)).body).toEqual({ data: { me: null } })
  })

  test('a token that is not valid is an error, and not nobody', async () => {
    const answer = await client.graphql(document.me, {}, { token: 'forged' })
    expect([answer.data, failure(answer)]).toEqual([{ me: null }, ['me', 'unauthenticated']])
  })

  test('each refusal has the code that HTTP answers with', async () => {
    const [ada, eve] = await Promise.all([client.signUp(), client.signUp()])
    const { token } = eve
    const taken = { ...registration(), email: ada.email.toUpperCase() }
    const wrong = { email: ada.email, password: 'not the password' }
    const unknown = Bun.randomUUIDv7()
    const refusals: [keyof typeof document, Record<string, unknown>, { token?: string }, string][] = [
      ['registerUser', { input: taken }, {}, 'email-taken'],
      ['createSession', { input: wrong }, {}, 'bad-credentials'],
      ['user', { id: ada.id }, {}, 'unauthenticated'],
      ['user', { id: ada.id }, { token }, 'user-not-found'],
      ['user', { id: unknown }, { token }, 'user-not-found'],
      ['renameUser', { id: ada.id, name: 'Mine' }, {}, 'unauthenticated'],
      ['renameUser', { id: ada.id, name: 'Mine' }, { token }, 'user-not-found'],
      ['closeUser', { id: ada.id }, {}, 'unauthenticated'],
      ['closeUser', { id: ada.id }, { token }, 'user-not-found'],
    ]
    for (const [operation, variables, sent, code] of refusals) {
      const answer = await client.graphql(document[operation], variables, sent)
      expect(failure(answer)).toEqual([operation, code])
      expect(answer.headers.get('consistency-token')).toBeNull()
    }
    const { body } = await client.send('GET', `/users/${ada.id}`, { token: ada.token })
    expect(body).toEqual(ada.user)
  })

  test('too many failures are refused with the code and the time of HTTP', async () => {
    const input = { email: freshEmail(), password: 'not the password' }
    for (let time = 0; time < 5; time += 1)
      expect(failure(await client.graphql(document.createSession, { input }))[1]).toBe('bad-credentials')
    const { errors } = await client.graphql(document.createSession, { input })
    expect(errors?.[0]?.extensions).toEqual({ code: 'too-many-attempts', retryAfterSeconds: expect.any(Number) })
  })

  test('input that does not fit is refused with the fields that HTTP names', async () => {
    const { id, token } = await client.signUp()
    const ill: [keyof typeof document, Record<string, unknown>, string[]][] = [
      ['registerUser', { input: { name: '', email: 'x', password: 'y' } }, ['name', 'email', 'password']],
      ['registerUser', { input: { ...registration(), name: 'a\0b' } }, ['name']],
      ['createSession', { input: { email: 'a\0@example.com', password: 'x' } }, ['email']],
      ['renameUser', { id, name: '' }, ['name']],
      ['renameUser', { id: 'me', name: 'Ada' }, ['id']],
      ['closeUser', { id: 'me' }, ['id']],
      ['user', { id: 'me' }, ['id']],
    ]
    for (const [operation, variables, paths] of ill) {
      const { errors } = await client.graphql(document[operation], variables, { token })
      const named = paths.map((path) => ({ path, message: expect.any(String) }))
      expect(errors?.[0]?.extensions).toEqual({ code: 'invalid-input', errors: named })
    }
  })

  test('an id is the same in capitals', async () => {
    const { id, token, user } = await client.signUp()
    const { data } = await client.graphql(document.user, { id: id.toUpperCase() }, { token })
    expect(data).toEqual({ user })
    const renamed = await client.graphql(document.renameUser, { id: id.toUpperCase(), name: 'Same' }, { token })
    expect(renamed.data).toEqual({ renameUser: { ...user, name: 'Same', version: 2 } })
  })

  test('the commands of one request run one after the other, and its token waits for all of them', async () => {
    const { id, token } = await client.signUp()
    const rename = (name: string) => `${name}: renameUser(id: "${id}", name: "${name}") { name version }`
    const changed = await client.graphql(`mutation { ${['a', 'b', 'c'].map(rename).join(' ')} }`, {}, { token })
    expect(changed.data).toEqual({
      a: { name: 'a', version: 2 },
      b: { name: 'b', version: 3 },
      c: { name: 'c', version: 4 },
    })
    const { data } = await client.graphql(document.me, {}, { token, headers: consistency(changed) })
    expect(data).toMatchObject({ me: { name: 'c', version: 4 } })
  })

  test('what one field refuses leaves the others answered', async () => {
    const { id, token } = await client.signUp()
    const query = `{ me { id } user(id: "${Bun.randomUUIDv7()}") { id } }`
    const answer = await client.graphql(query, {}, { token })
    expect([answer.data, failure(answer)]).toEqual([{ me: { id }, user: null }, ['user', 'user-not-found']])
  })
})
