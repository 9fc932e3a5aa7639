import { type Context, type SeedProduct, seedProduct } from '#modules/orders'

const eur = (amount: number) => ({ amount, currency: 'EUR' })

/** What dev and the tests have for sale. */
export const seededProducts: SeedProduct[] = [
  { sku: 'tea', name: 'Tea', price: eur(499), stock: 1_000 },
  { sku: 'coffee', name: 'Coffee', price: eur(1_299), stock: 1_000 },
  { sku: 'cup', name: 'Cup', price: eur(799), stock: 1_000 },
  { sku: 'kettle', name: 'Kettle', price: eur(3_999), stock: 1_000 },
  { sku: 'honey', name: 'Honey', price: eur(649), stock: 1_000 },
  { sku: 'samovar', name: 'Samovar', price: eur(24_900), stock: 10 },
]

/** Creates the products that are not there yet; what is there keeps its price and stock. */
export const seed = async (context: Context): Promise<string[]> => {
  const created: string[] = []
  for (const product of seededProducts) if (await seedProduct(context, product)) created.push(product.sku)
  return created
}
