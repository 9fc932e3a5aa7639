import { createRoute, z } from '@hono/zod-openapi'
import { type ProductSnapshot, changeStock, listProducts, productSnapshot, putProduct } from '#modules/orders'
import type { BffOptions } from './bff.ts'
import { requireOperator } from './dead-letters.ts'
import { changeStockInput, putProductInput, skuParameter } from './inputs.ts'
import { type Answer, once } from './once.ts'
import { bearer, changed, createRouter, jsonBody, problems } from './openapi.ts'

const product = productSnapshot.omit({ id: true, version: true }).openapi('Product')

const tags = ['products']

const list = createRoute({
  method: 'get',
  path: '/products',
  tags,
  summary: 'What is for sale',
  responses: {
    200: {
      description: 'Every product',
      content: { 'application/json': { schema: z.object({ items: z.array(product) }) } },
    },
    ...problems(),
  },
})

const put = createRoute({
  method: 'put',
  path: '/products/{sku}',
  tags,
  summary: 'Create a product, or change its name and price',
  security: bearer,
  request: { params: skuParameter, ...jsonBody(putProductInput) },
  responses: { 200: changed('The product', product), ...problems(400, 401, 403, 413) },
})

const stock = createRoute({
  method: 'post',
  path: '/products/{sku}/stock',
  tags,
  summary: 'Add stock, or take it away',
  security: bearer,
  request: { params: skuParameter, ...jsonBody(changeStockInput) },
  responses: { 200: changed('The product', product), ...problems(400, 401, 403, 404, 409, 413, 422) },
})

/** A product as clients see it. */
export const toProduct = ({ sku, name, price, stock }: ProductSnapshot) => ({ sku, name, price, stock })

const answer = (snapshot: ProductSnapshot): Answer => ({
  status: 200,
  body: toProduct(snapshot),
  changed: [{ module: 'orders', thing: 'product', id: snapshot.sku, version: snapshot.version }],
})

export const productRoutes = ({ modules }: BffOptions) => {
  const module = modules.orders
  return createRouter()
    .openapi(list, async (c) => c.json({ items: (await listProducts(c.get('call').orders)).map(toProduct) }, 200))
    .openapi(put, async (c) => {
      const call = c.get('call')
      const identity = await requireOperator(call)
      const input = { sku: c.req.valid('param').sku, ...c.req.valid('json') }
      return once(c, { call, identity, module, input, run: (context) => putProduct(context, input), answer }) as never
    })
    .openapi(stock, async (c) => {
      const call = c.get('call')
      const identity = await requireOperator(call)
      const input = { sku: c.req.valid('param').sku, ...c.req.valid('json') }
      return once(c, { call, identity, module, input, run: (context) => changeStock(context, input), answer }) as never
    })
}
