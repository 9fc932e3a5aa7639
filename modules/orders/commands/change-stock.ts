import { DomainError } from '#platform/errors'
import type { Context } from '../context.ts'
import { productChanged } from '../events.ts'
import { addStock } from '../product.ts'
import { lockProducts, updateStock } from '../repository.ts'
import { type ProductSnapshot, toProductSnapshot } from '../snapshot.ts'

/** Adds stock, or takes unsold stock away. @throws DomainError `product-not-found`, `out-of-stock` */
export const changeStock = (
  context: Context,
  { sku, delta }: { sku: string; delta: number },
): Promise<ProductSnapshot> =>
  context.transact(async (tx, emit) => {
    const held = (await lockProducts(tx, [sku])).get(sku)
    if (!held) throw new DomainError('product-not-found', 'Product not found')
    const product = addStock(held, delta)
    await updateStock(tx, [product])
    emit(productChanged(sku, product.sequence, { sku }))
    return toProductSnapshot(product)
  })
