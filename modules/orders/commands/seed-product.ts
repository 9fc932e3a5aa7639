import type { Money } from '#platform/money'
import type { Context } from '../context.ts'
import { productChanged } from '../events.ts'
import { createProduct } from '../product.ts'
import { toProductRow } from '../repository.ts'
import { products } from '../schema.ts'

export type SeedProduct = { sku: string; name: string; price: Money; stock: number }

/** Creates the product with that much stock, unless there is one with this SKU already; says whether it did. */
export const seedProduct = (context: Context, { stock, ...input }: SeedProduct): Promise<boolean> =>
  context.transact(async (tx, emit) => {
    const product = { ...createProduct(input), stock, added: stock }
    const inserted = await tx.insert(products).values(toProductRow(product)).onConflictDoNothing().returning()
    if (inserted.length === 0) return false
    emit(productChanged(product.sku, product.sequence, { sku: product.sku }))
    return true
  })
