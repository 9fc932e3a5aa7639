import { eq } from 'drizzle-orm'
import type { Money } from '#platform/money'
import type { Context } from '../context.ts'
import { productChanged } from '../events.ts'
import { createProduct, describeProduct } from '../product.ts'
import { lockProducts, toProductRow } from '../repository.ts'
import { products } from '../schema.ts'
import { type ProductSnapshot, toProductSnapshot } from '../snapshot.ts'

export type PutProduct = { sku: string; name: string; price: Money }

/** Creates the product with no stock, or changes its name and price; orders that exist keep their prices. */
export const putProduct = (context: Context, input: PutProduct): Promise<ProductSnapshot> =>
  context.transact(async (tx, emit) => {
    const inserted = await tx
      .insert(products)
      .values(toProductRow(createProduct(input)))
      .onConflictDoNothing()
      .returning()
    const held = (await lockProducts(tx, [input.sku])).get(input.sku)
    if (!held) throw new Error(`The product ${input.sku} was neither inserted nor found.`)
    const product = inserted.length > 0 ? held : describeProduct(held, input)
    if (inserted.length === 0) await tx.update(products).set(toProductRow(product)).where(eq(products.sku, input.sku))
    emit(productChanged(product.sku, product.sequence, { sku: product.sku }))
    return toProductSnapshot(product)
  })
