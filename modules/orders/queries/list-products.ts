import type { Context } from '../context.ts'
import { type ProductSnapshot, allProducts, productSnapshot } from '../snapshot.ts'

const most = 1_000

/** Every product, by SKU. */
export const listProducts = async ({ snapshots }: Pick<Context, 'snapshots'>): Promise<ProductSnapshot[]> => {
  const stored = await snapshots.list('product', allProducts, { limit: most })
  return stored.map((text) => productSnapshot.parse(JSON.parse(text))).toReversed()
}
