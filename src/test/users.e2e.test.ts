import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { userSnapshot } from '#modules/users'
import { openPostgres } from '#platform/postgres'
import { startTestApp } from './app.ts'
import { type Account, type Answer, consistency, createClient, freshEmail, refusal } from './client.ts'
import { eventually } from './eventually.ts'
import { openTestRedis } from './redis.ts'
import { readTopic } from './topic.ts'

setDefaultTimeout(60_000)

const app = await startTestApp()
const client = createClient(app.url)
const owner = openPostgres({ url: app.environment['DATABASE_URL'] ?? '', name: 'test', poolSize: 2 })
const redis = openTestRedis(app.environment)
const events = await readTopic(app.environment, 'user-events')

afterAll(async () => {
  await events.stop()
  redis.disconnect()
  await app.stop()
  await owner.close()
})

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const register = async (name: string, headers: Record<string, string> = {}) => {
  const [email, password] = [freshEmail(), 'correct horse battery staple']
  const answer = await client.send('POST', '/users', { body: { name, email, password }, headers })
  return { answer, email, password, user: userSnapshot.parse(answer.body) }
}

const storedSnapshot = async (id: string): Promise<unknown> => JSON.parse((await redis.get(`users:user:${id}`)) ?? '{}')

/** What every side that answers with the user says. */
const faces = async ({ id, token }: Pick<Account, 'id' | 'token'>, changed: Answer) => {
  const headers = consistency(changed)
  const read = await client.send('GET', `/users/${id}`, { token, headers })
  const fields = '{ id name email status version createdAt }'
  const { data } = await client.graphql(
    `query ($id: ID!) { me ${fields} user(id: $id) ${fields} }`,
    { id },
    { token, headers },
  )
  return { read: read.body, me: data?.['me'], user: data?.['user'], redis: await storedSnapshot(id) }
}

const same = (user: unknown) => ({ read: user, me: user, user, redis: user })

describe('a registration', () => {
  test('is answered with the user, where it is, and the name of its story', async () => {
    const { answer, email } = await register('Ada Lovelace', { 'correlation-id': 'story-1' })
    expect(answer.status).toBe(201)
    const user = userSnapshot.parse(answer.body)
    expect(user).toEqual({ ...user, name: 'Ada Lovelace', email, status: 'active', version: 1 })
    expect(user.id).toMatch(uuid)
    expect(answer.headers.get('location')).toBe(`/users/${user.id}`)
    expect(answer.headers.get('correlation-id')).toBe('story-1')
    expect(answer.headers.get('consistency-token')).toMatch(/^[\w-]+$/)
  })

  test('is read the same from HTTP, from both queries of GraphQL and from Redis', async () => {
    const { answer, user, email, password } = await register('Grace Hopper')
    const token = await client.signIn(email, password)
    expect(await faces({ id: user.id, token }, answer)).toEqual(same(user))
  })

  test('commits the row and its message in one transaction', async () => {
    const stolen = `update users.relay_leases set owner = gen_random_uuid(), epoch = epoch + 1, expires_at = `
    await owner.run(`${stolen} now() + interval '1 hour'`)
    try {
      const { user } = await register('Nobody relays')
      const rows = await owner.run(
        `select users.xmin::text as row, outbox.xmin::text as message from users.users
          join users.outbox on outbox.key = users.id::text where users.id = $1`,
        [user.id],
      )
      expect(rows).toHaveLength(1)
      expect(rows[0]?.['message']).toBe(rows[0]?.['row'] ?? '')
    } finally {
      await owner.run(`${stolen} '-infinity'`)
    }
    await eventually(async () => expect(await owner.run('select 1 from users.outbox')).toEqual([]))
  })

  test('is published as a CloudEvent with the headers of the interface and nothing personal', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const { user, email, password } = await register('Personal Name', { 'correlation-id': 'story-2', traceparent })
    const [record] = await events.eventuallyOf(user.id, 1)
    expect(record?.headers).toEqual({
      ce_specversion: '1.0',
      ce_id: expect.stringMatching(uuid),
      ce_type: 'users.user-registered.v1',
      ce_source: '/modules/users',
      ce_subject: user.id,
      ce_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      ce_sequence: '1',
      ce_correlationid: 'story-2',
      ce_causationid: expect.stringMatching(uuid),
      traceparent,
      'content-type': 'application/json',
    })
    const value = record?.value.toString('utf8') ?? ''
    expect(JSON.parse(value)).toEqual({ userId: user.id, role: 'customer', registeredAt: user.createdAt })
    const everything = JSON.stringify([record?.key, record?.headers, value]).toLowerCase()
    for (const secret of ['personal', email.toLowerCase(), password, 'argon2']) expect(everything).not.toContain(secret)
  })

  test('is recorded in the inbox of users.user-events under the id of its message', async () => {
    const { user } = await register('Inbox')
    const [record] = await events.eventuallyOf(user.id, 1)
    await eventually(async () => {
      const rows = await owner.run('select consumer from users.inbox where message_id = $1', [
        record?.headers['ce_id'] ?? '',
      ])
      expect(rows).toEqual([{ consumer: 'users.user-events' }])
    })
  })

  test('keeps the password only as an argon2id hash', async () => {
    const { user, password } = await register('Hashed')
    const [row] = await owner.run('select users::text as whole, password_hash from users.users where id = $1', [
      user.id,
    ])
    expect(row?.['password_hash']).toStartWith('$argon2id$')
    expect(row?.['whole']).not.toContain(password)
  })

  test('that loses against another with the same email leaves neither a row nor a message', async () => {
    const { email, password, user } = await register('First')
    const body = { name: 'Second', email: email.toUpperCase(), password }
    const headers = { 'correlation-id': `loser-${user.id}` }
    expect(refusal(await client.send('POST', '/users', { body, headers }))).toEqual({
      status: 409,
      code: 'email-taken',
    })
    const after = await register('After')
    await events.eventuallyOf(after.user.id, 1)
    await app.app.hosted.users.relayed()
    const rows = await owner.run('select id::text from users.users where email_key = lower($1)', [email])
    expect(rows).toEqual([{ id: user.id }])
    await eventually(async () => expect(await owner.run('select 1 from users.outbox')).toEqual([]))
    const stories = events.records.map((record) => record.headers['ce_correlationid'])
    expect(stories).not.toContain(`loser-${user.id}`)
  })

  test('of one email by twenty at once is won by exactly one of them', async () => {
    const email = freshEmail()
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => {
        const spelt = email.replaceAll(/\w/g, (letter, at: number) =>
          (index >> (at % 5)) & 1 ? letter.toUpperCase() : letter,
        )
        return client.send('POST', '/users', {
          body: { name: `Racer ${index}`, email: spelt, password: 'correct horse' },
        })
      }),
    )
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(19)
    const rows = await owner.run('select 1 from users.users where email_key = lower($1)', [email])
    expect(rows).toHaveLength(1)
  })
})

describe('a life', () => {
  test('has the versions and the sequences 1, 2, 3, and each change reaches every face', async () => {
    const account = await client.signUp('Before')
    const { id, token } = account
    const renamed = await client.send('PATCH', `/users/${id}`, { token, body: { name: 'After' } })
    expect(renamed.status).toBe(200)
    const user = { ...account.user, name: 'After', version: 2 }
    expect(renamed.body).toEqual(user)
    expect(await faces(account, renamed)).toEqual(same(user))

    const closed = await client.send('DELETE', `/users/${id}`, { token })
    expect(closed.status).toBe(202)
    const nobody = { ...user, name: null, email: null, status: 'closed', version: 3 }
    expect(closed.body).toEqual(nobody)
    await eventually(async () => expect(await storedSnapshot(id)).toEqual(nobody))

    const records = await events.eventuallyOf(id, 3)
    expect(records.map(({ headers }) => [headers['ce_sequence'], headers['ce_type']])).toEqual([
      ['1', 'users.user-registered.v1'],
      ['2', 'users.user-renamed.v1'],
      ['3', 'users.user-closed.v1'],
    ])
    expect(records.slice(1).map(({ value }) => JSON.parse(value.toString('utf8')))).toEqual([
      { userId: id },
      { userId: id },
    ])
    expect(new Set(records.map(({ partition }) => partition)).size).toBe(1)
  })

  test('ends with a dead token, a refused sign-in, nothing personal left and a free email', async () => {
    const { id, token, email, password } = await client.signUp('Leaving')
    const closed = await client.send('DELETE', `/users/${id}`, { token })
    const headers = consistency(closed)
    const dead = { status: 401, code: 'unauthenticated' }
    expect(refusal(await client.send('GET', `/users/${id}`, { token, headers }))).toEqual(dead)
    for (const method of ['PATCH', 'DELETE']) {
      const sent = { token, ...(method === 'PATCH' ? { body: { name: 'Back' } } : {}) }
      expect(refusal(await client.send(method, `/users/${id}`, sent))).toEqual(dead)
    }
    const signIn = await client.send('POST', '/sessions', { body: { email, password } })
    expect(refusal(signIn)).toEqual({ status: 401, code: 'bad-credentials' })

    const [row] = await owner.run('select users::text as whole from users.users where id = $1', [id])
    for (const secret of [email.toLowerCase(), 'leaving', 'argon2'])
      expect(String(row?.['whole']).toLowerCase()).not.toContain(secret)

    const again = await client.send('POST', '/users', { body: { name: 'Somebody else', email, password } })
    expect(again.status).toBe(201)
    expect(userSnapshot.parse(again.body).id).not.toBe(id)
  })

  test('that ended is seen by an operator as closed, and cannot be changed any more', async () => {
    const { id, token } = await client.signUp()
    const closed = await client.send('DELETE', `/users/${id}`, { token })
    const { OPERATOR_EMAIL = '', OPERATOR_PASSWORD = '' } = app.environment
    const operator = await client.signIn(OPERATOR_EMAIL, OPERATOR_PASSWORD)
    const read = await client.send('GET', `/users/${id}`, { token: operator, headers: consistency(closed) })
    expect(read.body).toEqual(closed.body)
    const conflict = { status: 409, code: 'account-closed' }
    const renaming = await client.send('PATCH', `/users/${id}`, { token: operator, body: { name: 'Back' } })
    expect(refusal(renaming)).toEqual(conflict)
    expect(refusal(await client.send('DELETE', `/users/${id}`, { token: operator }))).toEqual(conflict)
  })

  test('with ten renames at once has ten versions, published in their order', async () => {
    const { id, token } = await client.signUp()
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        client.send('PATCH', `/users/${id}`, { token, body: { name: `Name ${index}` } }),
      ),
    )
    const users = answers.map(({ body }) => userSnapshot.parse(body)).toSorted((a, b) => a.version - b.version)
    expect(users.map(({ version }) => version)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    const records = await events.eventuallyOf(id, 11)
    expect(records.map(({ headers }) => Number(headers['ce_sequence']))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    await eventually(async () => expect(await storedSnapshot(id)).toEqual(users.at(-1)))
  })
})
