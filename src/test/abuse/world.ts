import { afterAll, expect, test } from 'bun:test'
import { openPostgres } from '#platform/postgres'
import type { Environment } from '../../config.ts'
import { startTestApp } from '../app.ts'
import type { Answer } from '../client.ts'
import { openShop } from '../shop.ts'

/** What somebody sends who means harm, and how it is refused. */
export type Hostile = {
  name: string
  send: () => Promise<Answer>
  status: number
  code: string | RegExp
}

/** What no refusal may show of the inside. */
const inside = /select |insert |update |\.ts\b|node_modules|\bat \S+ \(|argon2id|password_hash|postgres|ioredis/i

/** A shop with a victim who has bought something, and an attacker who has an account as well. */
export const openWorld = async (overrides: Environment = {}) => {
  const app = await startTestApp(overrides)
  const shop = await openShop(app.url, app.environment)
  const owner = openPostgres({ url: app.environment['DATABASE_URL'] ?? '', name: 'test', poolSize: 2 })
  afterAll(async () => {
    await app.stop()
    await Promise.all([shop.close(), owner.close()])
  })

  const [victim, attacker] = [await shop.client.signUp('Victoria'), await shop.client.signUp('Mallory')]
  const product = await shop.newProduct(100)
  const lines = [{ sku: product.sku, quantity: 2 }]
  const order = await shop.buy(victim, lines)
  const checkout = await shop.checkOut(victim, lines)
  const { paymentId } = await shop.eventuallyOrder(order.id, { status: 'confirmed' })
  const { orderId } = await shop.eventuallyCheckout(checkout.id, { status: 'completed' })
  await Promise.all([order.id, orderId ?? ''].map(shop.quiet))

  const rows = async (statement: string, value: string) => JSON.stringify(await owner.run(statement, [value]))

  /** Everything that belongs to the two, and the stock of what they buy. */
  const state = async () => {
    const ids = `{${victim.id},${attacker.id}}`
    const mine = 'user_id = any($1::uuid[]) order by id'
    return {
      users: await rows('select * from users.users where id = any($1::uuid[]) order by id', ids),
      orders: await rows(`select * from orders.orders where ${mine}`, ids),
      payments: await rows(`select * from payments.payments where ${mine}`, ids),
      sagas: await rows(`select * from orders.sagas where state::text ~ $1 order by id`, `${victim.id}|${attacker.id}`),
      product: await rows('select * from orders.products where sku = $1', product.sku),
    }
  }

  /** Each is refused with its code and a sentence, tells nothing of the inside or of the victim, and changes nothing. */
  const refuses = (cases: Hostile[]) => {
    for (const { name, send, status, code } of cases) {
      test(`${name}: ${status}`, async () => {
        const before = await state()
        const answer = await send()
        const refused = refusalOf(answer)
        const expected = typeof code === 'string' ? code : expect.stringMatching(code)
        expect({ status: answer.status, code: refused?.code }).toEqual({ status, code: expected })
        expect(refused?.detail).toMatch(/\w{3}/)
        const text = JSON.stringify(answer.body)
        expect(text).not.toMatch(inside)
        expect(text).not.toContain(victim.email)
        expect(await state()).toEqual(before)
      })
    }
  }

  return {
    ...shop,
    app,
    url: app.url,
    environment: app.environment,
    victim,
    attacker,
    product,
    lines,
    order,
    checkout,
    paymentId: paymentId ?? '',
    state,
    refuses,
    as: (who: { token: string }, method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
      shop.client.send(method, path, { token: who.token, headers, ...(body === undefined ? {} : { body }) }),
    ask: (who: { token: string }, query: string, variables: Record<string, unknown> = {}) =>
      shop.client.send('POST', '/graphql', { token: who.token, body: { query, variables } }),
  }
}

type Refusal = { code?: string; detail?: string }

/** What a refusal says, over HTTP and over GraphQL. */
const refusalOf = ({ body }: Answer): Refusal | undefined => {
  const { code, detail, errors } = body as Refusal & { errors?: { message: string; extensions?: { code?: string } }[] }
  if (code !== undefined) return { code, ...(detail === undefined ? {} : { detail }) }
  const [first] = errors ?? []
  return (
    first && { ...(first.extensions?.code === undefined ? {} : { code: first.extensions.code }), detail: first.message }
  )
}
