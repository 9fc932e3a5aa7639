import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { startTestApp } from '../../test/app.ts'
import { consistency, createClient, freshEmail } from '../../test/client.ts'
import { openDetour } from '../../test/detour.ts'
import { eventually } from '../../test/eventually.ts'
import { openInstance } from '../../test/instance.ts'
import { openShop } from '../../test/shop.ts'
import { decodeConsistency } from '../consistency.ts'

setDefaultTimeout(120_000)

const app = await startTestApp({}, 'users|orders|payments')
const shop = await openShop(app.url, app.environment)
const clients = app.urls.map(createClient)
const [, , atPayments = shop.client] = clients
const { sku } = await shop.newProduct(1_000)
const input = { lines: [{ sku, quantity: 1 }], paymentToken: 'tok_visa' }

afterAll(async () => {
  await app.stop()
  await shop.close()
})

const placeOrder = `mutation ($input: PlaceOrderInput!) { placeOrder(input: $input) { id user { id } total { amount } } }`

const idOf = (answer: unknown): string => z.object({ id: z.uuid() }).parse(answer).id

const ordersOf = async (token: string, headers = {}) => {
  const { body } = await shop.client.send('GET', '/orders', { token, headers })
  return z.object({ items: z.array(z.object({ id: z.string(), status: z.string() })) }).parse(body).items
}

const codes = (errors: { extensions: { code: string } }[] | undefined) =>
  errors?.map(({ extensions }) => extensions.code)

describe('a mutation, whichever process is asked,', () => {
  test('runs where its module is hosted, with its joins and the token of its change', async () => {
    for (const client of clients) {
      const { id, token } = await client.signUp()
      const answer = await client.graphql(placeOrder, { input }, { token })
      expect(answer.errors).toBeUndefined()
      expect(answer.data).toMatchObject({ placeOrder: { user: { id }, total: { amount: expect.any(Number) } } })
      const made = idOf(answer.data?.['placeOrder'])
      expect(await ordersOf(token, consistency(answer))).toMatchObject([{ id: made }])
    }
  })

  test('registers, signs in, renames and closes', async () => {
    for (const client of clients) {
      const account = { email: freshEmail(), password: 'correct horse battery staple' }
      const registered = await client.graphql(
        'mutation ($input: RegisterUserInput!) { registerUser(input: $input) { id version } }',
        { input: { ...account, name: 'Ada' } },
      )
      const id = idOf(registered.data?.['registerUser'])
      const signedIn = await client.graphql(
        'mutation ($input: CreateSessionInput!) { createSession(input: $input) { token userId } }',
        { input: account },
      )
      const session = z.object({ token: z.string(), userId: z.literal(id) }).parse(signedIn.data?.['createSession'])
      const { data } = await client.graphql(
        `mutation ($id: ID!) { renameUser(id: $id, name: "Countess") { name version } closeUser(id: $id) { status version } }`,
        { id },
        { token: session.token },
      )
      expect(data).toEqual({
        renameUser: { name: 'Countess', version: 2 },
        closeUser: { status: 'closed', version: 3 },
      })
    }
  })

  test('has one effect and one answer under an Idempotency-Key', async () => {
    const { token } = await shop.newBuyer()
    const sent = { token, headers: { 'idempotency-key': Bun.randomUUIDv7() } }
    const answers = await Promise.all([...clients, ...clients].map((each) => each.graphql(placeOrder, { input }, sent)))
    const ids = answers.map(({ data }) => idOf(data?.['placeOrder']))
    expect(new Set(ids).size).toBe(1)
    expect(new Set(answers.map(({ headers }) => headers.get('consistency-token'))).size).toBe(1)
    expect(await ordersOf(token, consistency(answers[0] ?? { headers: new Headers() }))).toHaveLength(1)
    for (const client of clients) {
      const other = await client.graphql(placeOrder.replace('{ id user', '{ id status user'), { input }, sent)
      expect(codes(other.errors)).toEqual(['idempotency-key-reused'])
    }
  })

  test('is refused with the code, the words, the place and the status of its host', async () => {
    const { token } = await shop.newBuyer()
    const documents: [string, Record<string, unknown>][] = [
      [placeOrder, { input: { ...input, lines: [{ sku: 'of-nobody', quantity: 1 }] } }],
      [placeOrder, { input: { ...input, lines: [] } }],
      [placeOrder, { input: { ...input, lines: 'none' } }],
      [`mutation ($id: ID!) {\n  again: cancelOrder(id: $id) { id } }`, { id: Bun.randomUUIDv7() }],
      [`mutation ($id: ID!) { refundPayment(id: $id) { id } }`, { id: Bun.randomUUIDv7() }],
      [`mutation { startSettlement(from: "never", to: "2026-01-01T00:00:00Z") { id } }`, {}],
      [`mutation ($id: ID!) { renameUser(id: $id, name: "") { id } }`, { id: Bun.randomUUIDv7() }],
      [`mutation ($input: CreateSessionInput!) { createSession(input: $input) { token } }`, { input: {} }],
    ]
    const accepts = ['application/json', 'application/graphql-response+json']
    for (const [query, variables] of documents) {
      for (const accept of accepts) {
        const answers = await Promise.all(
          clients.map(async (client) => {
            const { status, body } = await client.send('POST', '/graphql', {
              token,
              headers: { accept },
              body: { query, variables },
            })
            return JSON.stringify({ status, body: typeof body === 'string' ? JSON.parse(body) : body })
          }),
        )
        expect(answers[0]).toContain('"code":')
        expect(new Set(answers)).toEqual(new Set([answers[0] ?? '']))
      }
    }
  })

  test('is held off by a bad Idempotency-Key and by a session that has ended', async () => {
    const { token } = await atPayments.signUp()
    const bad = await atPayments.graphql(placeOrder, { input }, { token, headers: { 'idempotency-key': 'a b' } })
    expect([bad.status, codes(bad.errors)]).toEqual([200, ['invalid-input']])
    await atPayments.send('DELETE', '/sessions/current', { token })
    const dead = await atPayments.graphql(placeOrder, { input }, { token })
    expect([dead.status, codes(dead.errors)]).toEqual([200, ['unauthenticated']])
  })
})

describe('mutations of several modules in one document', () => {
  const mixed = `
    mutation ($id: ID!, $input: PlaceOrderInput!, $yes: Boolean = true) {
      first: placeOrder(input: $input) { id }
      renamed: renameUser(id: $id, name: "Mixed") { name }
      ...More
      left: placeOrder(input: $input) @skip(if: $yes) { id }
      __typename
    }
    fragment More on Mutation { second: placeOrder(input: $input) { id } again: renameUser(id: $id, name: "Again") { name } }`

  test('each run where they belong, in their order, and make one answer', async () => {
    for (const client of clients) {
      const { id, token } = await client.signUp()
      const answer = await client.graphql(mixed, { id, input }, { token })
      expect(answer.errors).toBeUndefined()
      expect(Object.keys(answer.data ?? {})).toEqual(['first', 'renamed', 'second', 'again', '__typename'])
      expect(answer.data).toMatchObject({
        renamed: { name: 'Mixed' },
        again: { name: 'Again' },
        __typename: 'Mutation',
      })
      const made = ['second', 'first'].map((name) => idOf(answer.data?.[name]))
      expect((await ordersOf(token, consistency(answer))).map((order) => order.id)).toEqual(made)
      const changed = decodeConsistency(answer.headers.get('consistency-token') ?? '')
      expect(changed.map(({ thing }) => thing)).toEqual(['order', 'user', 'order', 'user'])
    }
  })

  test('have one effect each under an Idempotency-Key, which is theirs by their place', async () => {
    const { id, token } = await atPayments.signUp()
    const sent = { token, headers: { 'idempotency-key': Bun.randomUUIDv7() } }
    const answers: Awaited<ReturnType<typeof atPayments.graphql>>[] = []
    for (const client of clients) answers.push(await client.graphql(mixed, { id, input }, sent))
    const orders = await ordersOf(token, consistency(answers[0] ?? { headers: new Headers() }))
    expect(orders).toHaveLength(2)
    for (const { data } of answers)
      expect(data).toMatchObject({ first: { id: orders[1]?.id }, second: { id: orders[0]?.id } })
  })

  test('end at the first that is refused, and what came before it stays', async () => {
    const { id, token } = await atPayments.signUp()
    for (const client of clients) {
      const document = `mutation ($id: ID!, $input: PlaceOrderInput!) {
        kept: renameUser(id: $id, name: "Kept") { name }
        refused: refundPayment(id: $id) { id }
        never: placeOrder(input: $input) { id } }`
      const { data, errors } = await client.graphql(document, { id, input }, { token })
      expect([data, errors?.map(({ path }) => path), codes(errors)]).toEqual([null, [['refused']], ['forbidden']])
    }
    expect(await ordersOf(token)).toEqual([])
    await eventually(async () => {
      const { body } = await atPayments.send('GET', `/users/${id}`, { token })
      expect(body).toMatchObject({ name: 'Kept', version: 1 + clients.length })
    })
  })
})

describe('a process that hosts payments alone', () => {
  const { USERS_URL: _, ORDERS_URL: __, ...environment } = app.environment
  const alone = { ...environment, MODULES: 'payments', FORWARD_TIMEOUT_MS: '1000' }
  const query = `query ($id: ID!) { payment(id: $id) { status order { id user { id } } } }`

  const paid = async () => {
    const buyer = await shop.client.signUp()
    const { id } = await shop.buy(buyer, input.lines)
    const { paymentId } = await shop.eventuallyOrder(id, { status: 'confirmed' })
    await shop.eventuallyPayment(paymentId ?? '', { status: 'captured' })
    return { id, buyer, paymentId: paymentId ?? '' }
  }

  test('joins what another hosts, also while that one is away', async () => {
    const { id, buyer, paymentId } = await paid()
    const toOthers = await openDetour(app.url)
    const { client, close } = await openInstance({ ...alone, USERS_URL: toOthers.url, ORDERS_URL: toOthers.url })
    await toOthers.cut()
    const { data } = await client.graphql(query, { id: paymentId }, { token: buyer.token })
    expect(data).toEqual({ payment: { status: 'captured', order: { id, user: { id: buyer.id } } } })
    const answer = await client.graphql(placeOrder, { input }, { token: buyer.token })
    expect([answer.data, codes(answer.errors)]).toEqual([null, ['module-not-answering']])
    expect(answer.errors?.[0]).toMatchObject({ path: ['placeOrder'], extensions: { retryAfterSeconds: 1 } })
    await close()
  })

  test('answers for a module of which it knows no address that it is not hosted', async () => {
    const { buyer, paymentId } = await paid()
    const { client, close } = await openInstance(alone)
    const sent = { token: buyer.token }
    const { data, errors } = await client.graphql(query, { id: paymentId }, sent)
    expect(data).toEqual({ payment: { status: 'captured', order: null } })
    expect([errors?.[0]?.path, codes(errors)]).toEqual([['payment', 'order'], ['module-not-hosted']])
    for (const document of ['{ products { sku } }', '{ me { id } }', '{ orders { nodes { id } } }']) {
      expect(codes((await client.graphql(document, {}, sent)).errors)).toEqual(['module-not-hosted'])
    }
    const refused = await client.graphql(placeOrder, { input }, sent)
    expect([refused.data, codes(refused.errors)]).toEqual([null, ['module-not-hosted']])
    expect(refused.errors?.[0]?.message).toContain('ORDERS_URL')
    await close()
  })

  test('is not asked for what it does not host a second time', async () => {
    const second = await openInstance(alone)
    const { client, close } = await openInstance({ ...alone, ORDERS_URL: second.url })
    const { token } = await shop.newBuyer()
    const { errors } = await client.graphql(placeOrder, { input }, { token })
    expect(codes(errors)).toEqual(['module-not-hosted'])
    await Promise.all([close(), second.close()])
  })
})
