import type { Product, Shop } from './shop.ts'

const tokens = ['tok_visa', 'tok_visa', 'tok_declined', 'tok_visa']

/**
 * Buys one piece after the other of the products, in both ways and by so many customers at once, some of whom cancel, until the
 * signal comes; answers with what was begun.
 */
export const buyUntil = async (shop: Shop, products: Product[], signal: AbortSignal, customers = 4) => {
  const begun = { orders: [] as string[], checkouts: [] as string[] }
  const customer = async (number: number) => {
    const buyer = await shop.newBuyer()
    for (let count = number; !signal.aborted; count += 1) {
      const lines = [{ sku: products[count % products.length]?.sku ?? '', quantity: 1 }]
      const token = tokens[count % tokens.length]
      if (count % 3 === 0) begun.checkouts.push((await shop.checkOut(buyer, lines, token)).id)
      else {
        const { id } = await shop.buy(buyer, lines, token)
        begun.orders.push(id)
        // Whoever was declined meanwhile has nothing to cancel any more.
        if (count % 5 === 0) await shop.cancel(id, buyer.token)
      }
    }
  }
  await Promise.all(Array.from({ length: customers }, (_, number) => customer(number)))
  return begun
}
