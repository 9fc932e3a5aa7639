import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { eq } from 'drizzle-orm'
import type { FailureLimit } from '#platform/failure-limit'
import { createPasswords } from '#platform/passwords'
import { startTestApp } from '../../../src/test/app.ts'
import { createClient, freshEmail, refusal } from '../../../src/test/client.ts'
import type { Context } from '../context.ts'
import { users } from '../schema.ts'
import { emailKey } from '../user.ts'
import { ensureOperator } from './ensure-operator.ts'

setDefaultTimeout(60_000)

const app = await startTestApp()
const client = createClient(app.url)

afterAll(() => app.stop())

const context: Context = {
  ...app.app.hosted.users.context({ correlationId: 'test', causationId: 'test' }),
  passwords: createPasswords(),
  signInFailures: {} as FailureLimit,
}

const rowsOf = (email: string) =>
  context.read
    .select()
    .from(users)
    .where(eq(users.emailKey, emailKey(email)))

const seesDeadLetters = async (email: string, password: string) => {
  const token = await client.signIn(email, password)
  return (await client.send('GET', '/ops/dead-letters', { token })).status
}

test('the operator is made, and may do what an operator may', async () => {
  const [email, password] = [freshEmail(), 'the first password']
  await ensureOperator(context, { email, password })
  expect(await seesDeadLetters(email, password)).toBe(200)
})

test('a second time changes nothing', async () => {
  const [email, password] = [freshEmail(), 'the first password']
  await ensureOperator(context, { email, password })
  const before = await rowsOf(email)
  await ensureOperator(context, { email: email.toUpperCase(), password })
  expect(await rowsOf(email)).toEqual(before)
})

test('another password takes the place of the old one', async () => {
  const email = freshEmail()
  await ensureOperator(context, { email, password: 'the first password' })
  await ensureOperator(context, { email, password: 'the second password' })
  expect(await seesDeadLetters(email, 'the second password')).toBe(200)
  const body = { email, password: 'the first password' }
  expect(refusal(await client.send('POST', '/sessions', { body })).code).toBe('bad-credentials')
})

test('a customer with this email becomes the operator', async () => {
  const { email, password, id } = await client.signUp()
  expect(await seesDeadLetters(email, password)).toBe(403)
  await ensureOperator(context, { email, password: 'an operator’s password' })
  expect(await seesDeadLetters(email, 'an operator’s password')).toBe(200)
  expect((await rowsOf(email)).map((row) => row.id)).toEqual([id])
})

test('several at once make one operator, and none of them fails', async () => {
  const [email, password] = [freshEmail(), 'the first password']
  await Promise.all(Array.from({ length: 4 }, () => ensureOperator(context, { email, password })))
  expect(await rowsOf(email)).toHaveLength(1)
})
