import type { Context } from '../context.ts'
import { type ProductSnapshot, allProducts, decodeProduct } from '../snapshot.ts'

const pageSize = 1_000

/** Every product, by SKU. */
export const listProducts = async ({ snapshots }: Pick<Context, 'snapshots'>): Promise<ProductSnapshot[]> => {
  const found: ProductSnapshot[] = []
  for (let before: string | undefined; ;) {
    const { stored, next } = await snapshots.list('product', allProducts, { before, limit: pageSize })
    found.push(...stored.map(decodeProduct))
    if (next === undefined) return found.toReversed()
    before = next
  }
}
