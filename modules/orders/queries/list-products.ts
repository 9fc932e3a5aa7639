import type { Context } from '../context.ts'
import { type ProductSnapshot, allProducts, productSnapshot } from '../snapshot.ts'

const pageSize = 1_000

/** Every product, by SKU. */
export const listProducts = async ({ snapshots }: Pick<Context, 'snapshots'>): Promise<ProductSnapshot[]> => {
  const found: ProductSnapshot[] = []
  for (let before: string | undefined; ;) {
    const stored = await snapshots.list('product', allProducts, { before, limit: pageSize })
    found.push(...stored.map((text) => productSnapshot.parse(JSON.parse(text))))
    before = found.at(-1)?.sku
    if (stored.length < pageSize) return found.toReversed()
  }
}
