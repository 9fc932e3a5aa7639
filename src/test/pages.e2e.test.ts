import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { startTestApp } from './app.ts'
import { consistency } from './client.ts'
import { type Buyer, openShop } from './shop.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { client } = shop

afterAll(async () => {
  await app.stop()
  await shop.close()
})

const { sku } = await shop.newProduct(1_000)

/** Buys, waits until that is seen, and gives the id. */
const buy = async (buyer: Buyer): Promise<string> => {
  const answer = await shop.post('/orders', buyer, [{ sku, quantity: 1 }], 'tok_visa')
  const { id } = z.object({ id: z.string() }).parse(answer.body)
  await client.send('GET', `/orders/${id}`, { token: buyer.token, headers: consistency(answer) })
  return id
}

type Page = { ids: string[]; next: string | null }

const httpPage = z.object({ items: z.array(z.object({ id: z.string() })), nextCursor: z.string().nullable() })
const graphqlPage = z.object({
  orders: z.object({
    nodes: z.array(z.object({ id: z.string() })),
    pageInfo: z.object({ hasNextPage: z.boolean(), endCursor: z.string().nullable() }),
  }),
})

const faces: Record<string, (buyer: Buyer, after: string | null) => Promise<Page>> = {
  'GET /orders': async ({ token }, after) => {
    const cursor = after === null ? '' : `&cursor=${encodeURIComponent(after)}`
    const { items, nextCursor } = httpPage.parse((await client.send('GET', `/orders?limit=3${cursor}`, { token })).body)
    return { ids: items.map(({ id }) => id), next: nextCursor }
  },
  'a GraphQL connection': async ({ token }, after) => {
    const query =
      'query ($after: String) { orders(first: 3, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }'
    const { data } = await client.graphql(query, { after }, { token })
    const { nodes, pageInfo } = graphqlPage.parse(data).orders
    return { ids: nodes.map(({ id }) => id), next: pageInfo.hasNextPage ? pageInfo.endCursor : null }
  },
}

for (const [name, readPage] of Object.entries(faces)) {
  test(`the pages of ${name} skip nothing and repeat nothing while orders are bought, paid and cancelled`, async () => {
    const buyer = await shop.newBuyer()
    const before: string[] = []
    for (let count = 0; count < 8; count += 1) before.unshift(await buy(buyer))
    const seen: string[] = []
    const bought: string[] = []
    let next: string | null = null
    do {
      const page: Page = await readPage(buyer, next)
      expect(page.ids.length).toBeLessThanOrEqual(3)
      seen.push(...page.ids)
      next = page.next
      bought.unshift(await buy(buyer))
      await shop.cancel(page.ids.at(-1) ?? '')
    } while (next !== null)
    expect(seen).toEqual(before)
    const first = await readPage(buyer, null)
    expect(first.ids).toEqual([...bought, ...before].slice(0, 3))
  })
}
