import { expect } from 'bun:test'
import { z } from 'zod'
import { type CheckoutSnapshot, type OrderSnapshot, checkoutSnapshot, orderSnapshot } from '#modules/orders'
import { type PaymentSnapshot, paymentSnapshot } from '#modules/payments'
import { openPostgres } from '#platform/postgres'
import { createTokens } from '../bff/identity.ts'
import { type Environment, parseConfig } from '../config.ts'
import { type Answer, createClient } from './client.ts'
import { eventually } from './eventually.ts'

export type Buyer = { id: string; token: string }
export type Product = { sku: string; price: { amount: number; currency: string } }
export type Checkout = Omit<CheckoutSnapshot, 'version'>
export type Wanted = { sku: string; quantity: number }[]

const checkout = checkoutSnapshot.omit({ version: true })
const entries = z.object({
  items: z.array(z.object({ sequence: z.int(), kind: z.string(), amount: z.int(), currency: z.string() })),
  nextCursor: z.string().nullable(),
})
const products = z.object({ items: z.array(z.object({ sku: z.string(), stock: z.int() })) })

/** What a flow may take on a machine with much to do. */
export const patienceMs = 60_000

/** Everything that a test of buying does and looks at, through the HTTP API of the app at `url` and beside it. */
export const openShop = async (url: string, environment: Environment) => {
  const { OPERATOR_EMAIL = '', OPERATOR_PASSWORD = '', PAYMENT_PROVIDER_URL = '' } = environment
  const client = createClient(url)
  const { JWT_KEYS: keys, TLS_CA_FILE: ca } = parseConfig(environment)
  const tokens = createTokens({ keys, ttlSeconds: 3_600 })
  const operator = await client.signIn(OPERATOR_EMAIL, OPERATOR_PASSWORD)
  const open = (variable: string) => openPostgres({ url: environment[variable] ?? '', name: 'test', poolSize: 2, ca })
  const orders = open('ORDERS_DATABASE_URL')
  const payments = open('PAYMENTS_DATABASE_URL')

  /** Somebody of whom neither users nor orders has heard: no password is hashed, so there may be many. */
  const newBuyer = async (): Promise<Buyer> => {
    const id = Bun.randomUUIDv7()
    return { id, token: (await tokens.issue({ userId: id, role: 'customer' })).token }
  }

  /** A product of this test alone; no other has its price, so what was charged for it is known at the provider. */
  const newProduct = async (stock = 10, currency = 'EUR'): Promise<Product> => {
    const sku = `test-${Bun.randomUUIDv7()}`
    const price = { amount: 1_000_000 + Math.floor(Math.random() * 1_000_000_000), currency }
    const put = await client.send('PUT', `/products/${sku}`, { token: operator, body: { name: `The ${sku}`, price } })
    expect(put.status).toBe(200)
    const added = await client.send('POST', `/products/${sku}/stock`, { token: operator, body: { delta: stock } })
    expect(added.status).toBe(200)
    return { sku, price }
  }

  const post = (path: '/orders' | '/checkouts', { token }: Buyer, lines: Wanted, paymentToken: string) =>
    client.send('POST', path, { token, body: { lines, paymentToken } })

  const accepted = <Schema extends z.ZodType>(schema: Schema, { status, body }: Answer): z.infer<Schema> => {
    expect({ status, body }).toMatchObject({ status: 202 })
    return schema.parse(body)
  }

  const read = async <Schema extends z.ZodType>(schema: Schema, path: string): Promise<z.infer<Schema>> => {
    const { status, body } = await client.send('GET', path, { token: operator })
    if (status !== 200) throw new Error(`GET ${path} is answered ${status}: ${JSON.stringify(body)}`)
    return schema.parse(body)
  }

  const until = <Thing extends object>(look: () => Promise<Thing>, expected: object): Promise<Thing> =>
    eventually(async () => {
      const found = await look()
      expect(found).toMatchObject(expected)
      return found
    }, patienceMs)

  /** What the provider took and gave back in this amount, in its order. */
  const ledgerOf = async (amount: number): Promise<string[]> => {
    const found: string[] = []
    for (let after: string | null = '0'; after !== null;) {
      const answer = await fetch(`${PAYMENT_PROVIDER_URL.replace(/\/$/, '')}/ledger?after=${after}&limit=10000`)
      const page = entries.parse(await answer.json())
      found.push(...page.items.filter((item) => item.amount === amount).map(({ kind }) => kind))
      after = page.nextCursor
    }
    return found
  }

  const stockOf = async (sku: string): Promise<number | undefined> => {
    const { body } = await client.send('GET', '/products')
    return products.parse(body).items.find((item) => item.sku === sku)?.stock
  }

  const paymentOf = async (orderId: string): Promise<{ id: string; status: string } | undefined> => {
    const [row] = await payments.run('select id, status from payments where order_id = $1', [orderId])
    return row && { id: String(row['id']), status: String(row['status']) }
  }

  /** Resolves when no module has anything left to do or to say about the order. */
  const quiet = (orderId: string): Promise<void> =>
    eventually(async () => {
      const ids = `{${[orderId, (await paymentOf(orderId))?.id].filter(Boolean).join()}}`
      for (const { run } of [orders, payments]) {
        const left = `select key from timers where key = any($1::text[]) union all select type from outbox where key = any($1::text[])`
        expect(await run(left, [ids])).toEqual([])
      }
    }, patienceMs)

  return {
    client,
    operator,
    /** The modules' own databases, by their own roles. */
    orders,
    payments,
    newBuyer,
    /** A token of the user that expires so soon. */
    tokenOf: async (userId: string, ttlSeconds: number): Promise<string> => {
      const brief = createTokens({ keys: parseConfig(environment).JWT_KEYS, ttlSeconds })
      return (await brief.issue({ userId, role: 'customer' })).token
    },
    newProduct,
    buy: async (buyer: Buyer, lines: Wanted, paymentToken = 'tok_visa'): Promise<OrderSnapshot> =>
      accepted(orderSnapshot, await post('/orders', buyer, lines, paymentToken)),
    checkOut: async (buyer: Buyer, lines: Wanted, paymentToken = 'tok_visa'): Promise<Checkout> =>
      accepted(checkout, await post('/checkouts', buyer, lines, paymentToken)),
    /** Tries to, whatever the answer. */
    post,
    cancel: (id: string, token = operator) => client.send('POST', `/orders/${id}/cancellation`, { token }),
    refund: (paymentId: string, token = operator) => client.send('POST', `/payments/${paymentId}/refund`, { token }),
    readCheckout: (id: string): Promise<Checkout> => read(checkout, `/checkouts/${id}`),
    eventuallyOrder: (id: string, expected: Partial<OrderSnapshot>): Promise<OrderSnapshot> =>
      until(() => read(orderSnapshot, `/orders/${id}`), expected),
    eventuallyPayment: (id: string, expected: Partial<PaymentSnapshot>): Promise<PaymentSnapshot> =>
      until(() => read(paymentSnapshot, `/payments/${id}`), expected),
    eventuallyCheckout: (id: string, expected: Partial<Checkout>): Promise<Checkout> =>
      until(() => read(checkout, `/checkouts/${id}`), expected),
    eventuallyStock: (sku: string, stock: number) => until(async () => ({ stock: await stockOf(sku) }), { stock }),
    paymentOf,
    ledgerOf,
    quiet,
    /** Expects that the stock and what pending and confirmed orders hold come to all that was ever added. */
    expectBalanced: async (sku: string): Promise<void> => {
      const [row] = await orders.run(
        `select added, stock + coalesce((select sum((line->>'quantity')::bigint)
            from orders, json_array_elements(lines) as line
            where status <> 'cancelled' and line->>'sku' = $1), 0) as accounted
          from products where sku = $1`,
        [sku],
      )
      expect(row?.['accounted']).toBe(row?.['added'] ?? 'nothing')
    },
    close: () => Promise.all([orders.close(), payments.close()]),
  }
}

export type Shop = Awaited<ReturnType<typeof openShop>>
