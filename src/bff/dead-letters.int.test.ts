import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { createLog } from '#platform/log'
import { openBroker } from '#platform/messaging/kafka'
import { openPostgres } from '#platform/postgres'
import { startTestApp } from '../test/app.ts'
import { createClient, refusal } from '../test/client.ts'
import { eventually } from '../test/eventually.ts'

setDefaultTimeout(60_000)

const app = await startTestApp()
const client = createClient(app.url)
const { OPERATOR_EMAIL = '', OPERATOR_PASSWORD = '', KAFKA_BROKERS = '', DATABASE_URL = '' } = app.environment
const operator = { token: await client.signIn(OPERATOR_EMAIL, OPERATOR_PASSWORD) }
const owner = openPostgres({ url: DATABASE_URL, name: 'test', poolSize: 2 })
const log = createLog({ level: 'silent', readable: false })
const producer = openBroker({ brokers: KAFKA_BROKERS.split(','), clientId: 'test', log }).producer()

afterAll(async () => {
  await app.stop()
  await Promise.all([producer.close(), owner.close()])
})

const list = z.object({ items: z.array(z.looseObject({ id: z.uuid(), key: z.string(), module: z.string() })) })

const parked = async (key: string) => {
  const { body } = await client.send('GET', '/ops/dead-letters', operator)
  return list.parse(body).items.filter((item) => item.key === key)
}

/** Sends a record that no consumer can read, and waits until each of the two that get it has parked it. */
const parkOne = async () => {
  const key = Bun.randomUUIDv7()
  await producer.send([{ topic: 'user-events', key, value: 'no JSON', headers: { ce_specversion: '1.0' } }])
  const [item] = await eventually(async () => {
    const found = await parked(key)
    expect(new Set(found.map(({ module }) => module))).toEqual(new Set(['users', 'orders']))
    return found.filter(({ module }) => module === 'users')
  })
  return { key, id: item?.id ?? '', item }
}

const resolve = (id: string, verb: string, sent = operator) =>
  client.send('POST', `/ops/dead-letters/${id}/${verb}`, sent)

describe('a message that no consumer can read', () => {
  test('is listed for an operator with where it came from and why', async () => {
    const { key, item } = await parkOne()
    expect(item).toMatchObject({ module: 'users', consumer: 'users.user-events', topic: 'user-events', key })
    expect(item).toMatchObject({ code: 'undecodable', status: 'parked', resolvedAt: null, resolvedBy: null })
  })

  test('is given up once, under the name of who did it', async () => {
    const { id, key } = await parkOne()
    const skipped = await resolve(id, 'skip')
    expect(skipped.status).toBe(202)
    const [row] = await owner.run('select id::text from users.users where email_key = lower($1)', [OPERATOR_EMAIL])
    expect(skipped.body).toMatchObject({ id, status: 'skipped', resolvedBy: row?.['id'] })
    expect(await parked(key)).toMatchObject([{ module: 'orders' }])
    for (const verb of ['skip', 'redrive'])
      expect(refusal(await resolve(id, verb))).toEqual({ status: 409, code: 'already-resolved' })
  })

  test('stays parked when it is handled again and fails again', async () => {
    const { id, key } = await parkOne()
    expect(refusal(await resolve(id, 'redrive'))).toEqual({ status: 409, code: 'undecodable' })
    expect(await parked(key)).toHaveLength(2)
  })
})

test('a message that was parked is handled again, with its effect', async () => {
  const { id: key, user } = await client.signUp()
  const headers = {
    ce_specversion: '1.0',
    ce_id: Bun.randomUUIDv7(),
    ce_type: 'users.user-renamed.v1',
    ce_source: '/modules/users',
    ce_subject: key,
    ce_time: '2026-01-31T12:00:00Z',
  }
  const id = Bun.randomUUIDv7()
  await owner.run(
    `insert into users.dead_letters (id, consumer, topic, key, headers, value, code, error, attempts, position)
      values ($1, 'users.user-events', 'user-events', $2, $3, convert_to($4, 'UTF8'), 'fault', 'on purpose', 5, $5)`,
    [id, key, JSON.stringify(headers), JSON.stringify({ userId: key }), `by hand ${id}`],
  )
  await owner.run(`update users.users set name = 'Projected late', version = 2 where id = $1`, [key])
  const redriven = await resolve(id, 'redrive')
  expect([redriven.status, redriven.body]).toEqual([202, expect.objectContaining({ id, status: 'redriven' })])
  const { body } = await client.send('GET', `/users/${key}`, operator)
  expect(body).toEqual({ ...user, name: 'Projected late', version: 2 })
})

describe('the dead letters are refused', () => {
  const requests = ['GET /ops/dead-letters', ...['redrive', 'skip'].map((verb) => `POST /ops/dead-letters/ID/${verb}`)]
  for (const request of requests) {
    const [method = '', path = ''] = request.replace('ID', Bun.randomUUIDv7()).split(' ')

    test(`to nobody and to a customer: ${request}`, async () => {
      const { token } = await client.signUp()
      expect(refusal(await client.send(method, path))).toEqual({ status: 401, code: 'unauthenticated' })
      expect(refusal(await client.send(method, path, { token }))).toEqual({ status: 403, code: 'forbidden' })
    })
  }

  test('when there is none of that id, or it is no id', async () => {
    for (const verb of ['redrive', 'skip']) {
      expect(refusal(await resolve(Bun.randomUUIDv7(), verb))).toEqual({ status: 404, code: 'not-found' })
      expect(refusal(await resolve('1', verb))).toEqual({ status: 400, code: 'invalid-input' })
    }
  })
})
