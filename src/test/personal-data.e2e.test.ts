import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { ordersTraffic } from '#modules/orders'
import { paymentsTraffic } from '#modules/payments'
import { users } from '#modules/users'
import { openPostgres } from '#platform/postgres'
import { testEnvironment } from './app.ts'
import { consistency, createClient } from './client.ts'
import { eventually } from './eventually.ts'
import { startProcess } from './process.ts'
import { openShop, patienceMs } from './shop.ts'
import { mentions, openTraces } from './traces.ts'

setDefaultTimeout(240_000)

const environment = await testEnvironment()
const topics = [...users.topics, ...ordersTraffic.topics, ...paymentsTraffic.topics].map(({ name }) => name)
const traces = await openTraces(environment, topics)
const owner = openPostgres({ url: environment['DATABASE_URL'] ?? '', name: 'test', poolSize: 1 })
const running = await startProcess(environment, undefined, 'trace')
const client = createClient(running.url)
const shop = await openShop(running.url, environment)

afterAll(async () => {
  running.child.kill('SIGKILL')
  await Promise.all([traces.close(), shop.close(), owner.close()])
})

const mark = Bun.randomUUIDv7().slice(-12)
const email = `xanthippe.${mark}@example.com`
const names = ['Xanthippe', 'Ludmilla', 'Thusnelda', 'Walpurga'].map((name) => `${name} ${mark}`)
const [password, wrongPassword] = [`secret ${mark} horse`, `guess ${mark} horse`]
const [name = '', renamed = '', renamedAgain = '', neverTaken = ''] = names
const personal = [...names, email, email.split('@')[0] ?? '']

const made = z.object({ id: z.string() })
const key = () => ({ 'idempotency-key': Bun.randomUUIDv7() })

/** Everything that somebody does who uses each route, in all the ways that end up in a log. */
const live = async () => {
  const body = { name, email, password }
  const registered = await client.send('POST', '/users', { body })
  const { id } = made.parse(registered.body)
  const token = await client.signIn(email, password)
  await client.send('GET', `/users/${id}`, { token, headers: consistency(registered) })
  expect((await client.send('POST', '/users', { body })).status).toBe(409)
  expect((await client.send('POST', '/users', { body: { ...body, name: '', role: 'x' } })).status).toBe(400)
  expect((await client.send('POST', '/users', { body: `{"email":"${email}","password":"${password}` })).status).toBe(
    400,
  )
  expect((await client.send('POST', '/sessions', { body: { email, password: wrongPassword } })).status).toBe(401)
  expect((await client.send('GET', `/users/${id}?email=${email}`, { token: `${token}x` })).status).toBe(401)
  await client.send('PATCH', `/users/${id}`, { token, body: { name: renamed }, headers: key() })
  const mutation = 'mutation ($id: ID!, $name: String!) { renameUser(id: $id, name: $name) { name } }'
  await client.graphql(mutation, { id, name: renamedAgain }, { token, headers: key() })
  await client.graphql(`{ me { name email orders { nodes { id user { name email } } } } }`, {}, { token })
  await client.graphql(`query { me { name } user(id: "${email}") { id } }`, {}, { token })
  const { sku } = await shop.newProduct(10)
  const cart = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }
  const bought = await client.send('POST', '/orders', { token, body: cart, headers: { ...key(), prefer: 'wait=30' } })
  const checkedOut = await client.send('POST', '/checkouts', {
    token,
    body: cart,
    headers: { ...key(), prefer: 'wait=30' },
  })
  const ids = [bought, checkedOut].map((answer) => made.parse(answer.body).id)
  return { id, token, orderId: ids[0] ?? '', checkoutId: ids[1] ?? '' }
}

/** A fault of the statement that holds the name, of which the log tells. */
const failRenaming = ({ id, token }: { id: string; token: string }) =>
  owner.transaction(async ({ run }) => {
    await run('lock table users.users in share mode')
    const answer = await client.send('PATCH', `/users/${id}`, { token, body: { name: neverTaken } })
    expect(answer.status).toBe(503)
  })

test('once an account is closed, its name and email are nowhere: not in a table, a message, Redis or the log', async () => {
  const ada = await live()
  await failRenaming(ada)
  // What is looked for would be found.
  expect(await traces.inTables(personal)).toEqual(['users.users'])
  expect(await traces.inRedis(personal)).toEqual([`users:user:${ada.id}`])
  expect(await traces.inTables([ada.orderId])).toContain('orders.idempotency_keys')

  const closed = await client.send('DELETE', `/users/${ada.id}`, { token: ada.token })
  expect(closed.body).toMatchObject({ status: 'closed', name: null, email: null })
  await shop.eventuallyOrder(ada.orderId, { status: 'cancelled' })
  await shop.quiet(ada.orderId)
  await traces.topic('user-events').eventuallyOf(ada.id, 4)
  await traces.topic('order-events').eventuallyOf(ada.orderId, 3)
  await eventually(async () => expect(await traces.inRedis(personal)).toEqual([]), patienceMs)

  expect(await traces.inTables(personal)).toEqual([])
  expect(await traces.inRedis(personal)).toEqual([])
  expect(traces.inTopics([ada.orderId])).toContain('order-events')
  expect(traces.inTopics(personal)).toEqual([])

  running.child.kill('SIGTERM')
  const { log, errors } = await running.ended()
  const secrets = [...personal, password, wrongPassword, ada.token, ada.token.split('.')[2] ?? '', 'argon2id']
  expect(log.filter((line) => line.includes('a request failed'))).not.toEqual([])
  expect(log.filter((line) => line.includes('"level":20'))).not.toEqual([])
  expect([...log, ...errors].filter((line) => mentions(line, secrets))).toEqual([])
})
