import { createRoute, z } from '@hono/zod-openapi'
import { type ProductSnapshot, changeStock, listProducts, productSnapshot, putProduct } from '#modules/orders'
import type { Keep } from '#platform/messaging/outbox'
import type { SnapshotVersion } from '#platform/snapshots'
import type { BffOptions } from './bff.ts'
import { productExample } from './examples.ts'
import { forOperators } from './access.ts'
import { changeStockInput, putProductInput, skuParameter } from './inputs.ts'
import { type Answer, once } from './once.ts'
import { awaiting, changed, createRouter, jsonBody, problems, repeatable, withConsistency } from './openapi.ts'

const product = productSnapshot.omit({ id: true, version: true }).openapi('Product', { example: productExample })

const tags = ['products']

const list = createRoute({
  method: 'get',
  path: '/products',
  tags,
  summary: 'What is for sale',
  ...awaiting,
  responses: {
    200: {
      description: 'Every product',
      content: { 'application/json': { schema: z.object({ items: z.array(product) }) } },
    },
    ...problems(400, 401),
  },
})

const put = createRoute({
  method: 'put',
  path: '/products/{sku}',
  tags,
  summary: 'Create a product, or change its name and price',
  ...forOperators,
  request: { params: skuParameter, ...jsonBody(putProductInput) },
  responses: { 200: changed('The product', product), ...problems(400, 401, 403, 408, 413, 415) },
})

const stock = createRoute({
  method: 'post',
  path: '/products/{sku}/stock',
  tags,
  summary: 'Add stock, or take it away',
  ...forOperators,
  ...repeatable,
  request: { params: skuParameter, ...jsonBody(changeStockInput) },
  responses: { 200: changed('The product', product), ...problems(400, 401, 403, 404, 408, 409, 413, 415, 422) },
})

/** A product as clients see it. */
export const toProduct = ({ sku, name, price, stock }: ProductSnapshot) => ({ sku, name, price, stock })

const versionsOfProduct = ({ sku, version }: ProductSnapshot): SnapshotVersion[] => [
  { module: 'orders', thing: 'product', id: sku, version },
]

const answer = (snapshot: ProductSnapshot): Answer => ({
  status: 200,
  body: toProduct(snapshot),
  changed: versionsOfProduct(snapshot),
})

export const productRoutes = ({ modules }: BffOptions) => {
  const module = modules.orders
  return createRouter()
    .openapi(list, async (c) => c.json({ items: (await listProducts(c.get('call').orders)).map(toProduct) }, 200))
    .openapi(put, async (c) => {
      const call = c.get('call')
      const product = await putProduct(call.orders, { sku: c.req.valid('param').sku, ...c.req.valid('json') })
      call.changed.push(...versionsOfProduct(product))
      withConsistency(c, call)
      return c.json(toProduct(product), 200)
    })
    .openapi(stock, async (c) => {
      const { call, identity } = c.var
      const input = { sku: c.req.valid('param').sku, ...c.req.valid('json') }
      const run = (keep?: Keep) => changeStock(module.context(call.trace, keep), input)
      return once(c, { call, identity, input, module, run, answer }) as never
    })
}
