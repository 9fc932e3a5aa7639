import { afterAll, afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type UserSnapshot, userSnapshot } from '#modules/users'
import { openPostgres } from '#platform/postgres'
import type { Environment } from '../config.ts'
import { testEnvironment } from './app.ts'
import { type Client, createClient, freshEmail } from './client.ts'
import { eventually } from './eventually.ts'
import { startProcess } from './process.ts'
import { openTestRedis } from './redis.ts'
import { openShop } from './shop.ts'
import { readTopic } from './topic.ts'

setDefaultTimeout(120_000)

const environment = await testEnvironment()
const owner = openPostgres({ url: environment['DATABASE_URL'] ?? '', name: 'test', poolSize: 2 })
const redis = openTestRedis(environment)
const events = await readTopic(environment, 'user-events')

type Process = Awaited<ReturnType<typeof startProcess>>

const running = new Set<Process>()

const start = async (overrides: Environment = {}) => {
  const started = await startProcess({ ...environment, ...overrides })
  running.add(started)
  return { ...started, client: createClient(started.url) }
}

afterEach(async () => {
  for (const { child } of running) {
    child.kill('SIGKILL')
    await child.exited
  }
  running.clear()
  // What a killed process holds runs out after some seconds; no other test should meet it.
  await owner.run(`update users.relay_leases set expires_at = '-infinity'`)
  await owner.run('delete from users.relay_members')
})

afterAll(async () => {
  await events.stop()
  redis.disconnect()
  await owner.close()
})

const register = async (client: Client, name: string): Promise<UserSnapshot> => {
  const body = { name, email: freshEmail(), password: 'correct horse battery staple' }
  const { status, body: user } = await client.send('POST', '/users', { body })
  expect(status).toBe(201)
  return userSnapshot.parse(user)
}

/** Requests that are under way together: two hashes run at a time, so most are still ahead when the first is answered. */
const inFlight = (client: Client, count = 8) =>
  Array.from({ length: count }, (_, index) => register(client, `User ${index}`))

const registerMany = (client: Client, count: number) => Promise.all(inFlight(client, count))

const addressOf = ({ url }: Process) => ({ hostname: '127.0.0.1', port: Number(new URL(url).port) })

const outboxIsEmpty = () =>
  eventually(async () => expect(await owner.run('select type from users.outbox')).toEqual([]), 30_000)

/** Expects that each user was published, recorded in the inbox for each of its messages, and projected. */
const expectArrived = async (users: UserSnapshot[]) => {
  for (const user of users) {
    const records = await events.eventuallyOf(user.id, 1)
    const ids = [...new Set(records.map(({ headers }) => headers['ce_id'] ?? ''))]
    expect(ids).toHaveLength(1)
    await eventually(async () => {
      expect(JSON.parse((await redis.get(`users:user:${user.id}`)) ?? 'null')).toEqual(user)
      const rows = await owner.run('select consumer from users.inbox where message_id = any($1::uuid[])', [
        `{${ids.join()}}`,
      ])
      expect(rows).toEqual([{ consumer: 'users.user-events' }])
    }, 30_000)
  }
}

const codesOf = async (stopped: Process[]) => Promise.all(stopped.map(async (each) => (await each.ended()).code))

describe('a process that is told to stop', () => {
  test('finishes the requests in flight, relays their messages, and exits with 0', async () => {
    const process = await start()
    const registering = inFlight(process.client)
    await Promise.race(registering)
    process.child.kill('SIGTERM')
    const users = await Promise.all(registering)
    expect(await process.ended()).toMatchObject({ code: 0, errors: [] })
    expect(process.logged().at(-1)).toMatchObject({ msg: 'stopped' })
    expect(await owner.run('select type from users.outbox')).toEqual([])
    const next = await start()
    await expectArrived(users)
    await register(next.client, 'Next')
  })

  test('takes no new connection, while it finishes what it has', async () => {
    const process = await start()
    const registering = inFlight(process.client)
    await Promise.race(registering)
    process.child.kill('SIGTERM')
    await eventually(() =>
      expect(Bun.connect({ ...addressOf(process), socket: { data: () => undefined } })).rejects.toThrow(),
    )
    await Promise.all(registering)
    expect(await codesOf([process])).toEqual([0])
  })

  test('does not wait for clients that hold a connection without a request', async () => {
    const process = await start()
    const idle = await Bun.connect({ ...addressOf(process), socket: { data: () => undefined } })
    idle.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
    await register(process.client, 'Before')
    process.child.kill('SIGTERM')
    expect(await codesOf([process])).toEqual([0])
    expect(process.logged().map(({ msg }) => msg)).not.toContain('stopped at the deadline with work in hand')
    idle.end()
  })

  test('answers those who prefer to wait, and does not wait with them', async () => {
    const { child, client, ended, url } = await start({ PAYMENT_PROVIDER_URL: 'http://127.0.0.1:1' })
    const shop = await openShop(url, environment)
    const { token } = await shop.newBuyer()
    const { sku } = await shop.newProduct(1)
    await shop.close()
    const body = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_declined' }
    const waiting = client.send('POST', '/orders', { token, body, headers: { prefer: 'wait=30' } })
    await eventually(async () => {
      const { body } = await client.send('GET', '/orders', { token })
      expect(body).toMatchObject({ items: [{ status: 'pending' }] })
    })
    child.kill('SIGTERM')
    expect(await waiting).toMatchObject({ status: 202, body: { status: 'pending' } })
    expect((await ended()).code).toBe(0)
  })

  test('gives its partitions and its shards of the outbox to the others at once', async () => {
    const [leaving, staying] = [await start(), await start()]
    await expectArrived(await registerMany(leaving.client, 5))
    leaving.child.kill('SIGTERM')
    expect(await codesOf([leaving])).toEqual([0])
    const held = await owner.run(`select distinct owner from users.relay_leases where expires_at > now()`)
    expect(held.length).toBeLessThanOrEqual(1)
    await expectArrived(await registerMany(staying.client, 24))
  })

  test('by Ctrl-C stops the same way', async () => {
    const process = await start()
    process.child.kill('SIGINT')
    expect(await codesOf([process])).toEqual([0])
  })
})

describe('a process that is killed', () => {
  test('loses nothing that it answered: the next one publishes and projects it', async () => {
    const killed = await start()
    const users: UserSnapshot[] = []
    // Each of these is answered and then killed as early as can be.
    for (const name of ['First', 'Second', 'Third']) users.push(await register(killed.client, name))
    killed.child.kill('SIGKILL')
    await killed.child.exited
    await start()
    await expectArrived(users)
    await outboxIsEmpty()
  })

  test('with its messages still in the outbox, leaves them to the next one', async () => {
    const killed = await start()
    await owner.run(
      `update users.relay_leases set owner = gen_random_uuid(), epoch = epoch + 1, expires_at = now() + interval '1 hour'`,
    )
    const users = await registerMany(killed.client, 5)
    expect((await owner.run('select key from users.outbox')).map(({ key }) => key)).toEqual(
      expect.arrayContaining(users.map(({ id }) => id)),
    )
    killed.child.kill('SIGKILL')
    await killed.child.exited
    await owner.run(`update users.relay_leases set expires_at = '-infinity'`)
    await start()
    await expectArrived(users)
    await outboxIsEmpty()
  })

  test('leaves its part of the work to the others', async () => {
    const [killed, staying] = [await start(), await start()]
    const before = await registerMany(killed.client, 12)
    killed.child.kill('SIGKILL')
    const after = await registerMany(staying.client, 24)
    await expectArrived([...before, ...after])
    await outboxIsEmpty()
  })
})

test('two processes at once serve, relay and project the same users, without losing or doubling one', async () => {
  const [one, two] = [await start(), await start()]
  const users = (await Promise.all([registerMany(one.client, 20), registerMany(two.client, 20)])).flat()
  await expectArrived(users)
  await outboxIsEmpty()

  const [mine, theirs] = [await one.client.signUp('Shared'), await two.client.signUp('Shared too')]
  expect((await two.client.send('GET', `/users/${mine.id}`, { token: mine.token })).body).toEqual(mine.user)
  await one.client.send('DELETE', '/sessions/current', { token: theirs.token })
  expect((await two.client.send('GET', `/users/${theirs.id}`, { token: theirs.token })).status).toBe(401)
  const keys = `{${users.map(({ id }) => id).join()}}`
  expect(await owner.run('select error from users.dead_letters where key = any($1::text[])', [keys])).toEqual([])
})
