import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { DomainError, UnavailableError } from '#platform/errors'
import { createPasswords } from '#platform/passwords'
import { startTestApp } from '../../../src/test/app.ts'
import { createClient, freshEmail } from '../../../src/test/client.ts'
import type { Context } from '../context.ts'
import { registerUser } from './register-user.ts'
import { signIn } from './sign-in.ts'

setDefaultTimeout(60_000)

const app = await startTestApp()
const client = createClient(app.url)

afterAll(() => app.stop())

/** The context of the module, which counts what is hashed, checked and asked of Postgres: what a request's time is made of. */
const counting = () => {
  const counts = { hashed: 0, checked: 0, read: 0 }
  const passwords = createPasswords()
  const hosted = app.app.faces.users.context({ correlationId: 'test', causationId: 'test' })
  const { read } = hosted
  const context: Context = {
    ...hosted,
    get read() {
      counts.read += 1
      return read
    },
    passwords: {
      hash: (password) => {
        counts.hashed += 1
        return passwords.hash(password)
      },
      verify: (password, hash) => {
        counts.checked += 1
        return passwords.verify(password, hash)
      },
    },
  }
  return { context, counts }
}

const workOf = async (work: (context: Context) => Promise<unknown>) => {
  const { context, counts } = counting()
  const refusal = await work(context).then(
    () => 'none',
    (error: unknown) => (error instanceof DomainError ? error.code : String(error)),
  )
  return { refusal, ...counts }
}

test('a sign-in does the same work for a known, an unknown and a closed account', async () => {
  const known = await client.signUp()
  const closed = await client.signUp()
  await client.send('DELETE', `/users/${closed.id}`, { token: closed.token })
  for (const email of [known.email, freshEmail(), closed.email]) {
    const work = await workOf((context) => signIn(context, { email, password: 'not the password' }))
    expect(work).toEqual({ refusal: 'bad-credentials', hashed: 0, checked: 1, read: 1 })
  }
  const right = await workOf((context) => signIn(context, { email: known.email, password: known.password }))
  expect(right).toEqual({ refusal: 'none', hashed: 0, checked: 1, read: 1 })
})

test('nobody signs in while failures cannot be counted', async () => {
  const { email, password } = await client.signUp()
  const { context, counts } = counting()
  const away = () => Promise.reject(new UnavailableError('Redis does not answer'))
  const signInFailures = { lockedSeconds: away, failed: away, forget: away }
  expect(signIn({ ...context, signInFailures }, { email, password })).rejects.toThrow(UnavailableError)
  expect(counts.checked).toBe(0)
})

test('a registration hashes the password, whether its email is taken or not', async () => {
  const { email } = await client.signUp()
  const register = (given: string) =>
    workOf((context) => registerUser(context, { name: 'Ada', email: given, password: 'correct horse' }))
  expect(await register(email)).toMatchObject({ refusal: 'email-taken', hashed: 1, read: 0 })
  expect(await register(freshEmail())).toMatchObject({ refusal: 'none', hashed: 1, read: 0 })
})
