import { z } from 'zod'
import type { Buyer, Product, Shop } from './shop.ts'

const tokens = ['tok_visa', 'tok_visa', 'tok_declined', 'tok_visa']

const accepted = z.object({ id: z.uuid() })

/**
 * Buys one piece after the other of the products, in both ways and by so many customers at once, some of whom cancel, until the
 * signal comes; answers with how much was begun. What is answered 503, since a service or another process stalls, is not begun.
 */
export const buyUntil = async (
  shop: Shop,
  products: Product[],
  signal: AbortSignal,
  customers = 4,
): Promise<number> => {
  let begun = 0
  const buy = async (buyer: Buyer, count: number): Promise<void> => {
    const path = count % 3 === 0 ? '/checkouts' : '/orders'
    const lines = [{ sku: products[count % products.length]?.sku ?? '', quantity: 1 }]
    const { status, body } = await shop.post(path, buyer, lines, tokens[count % tokens.length] ?? '')
    if (status === 503) return
    if (status !== 202) throw new Error(`POST ${path} is answered ${status}: ${JSON.stringify(body)}`)
    begun += 1
    // Whoever was declined meanwhile has nothing to cancel any more.
    if (path === '/orders' && count % 5 === 0) await shop.cancel(accepted.parse(body).id, buyer.token)
  }
  const customer = async (number: number) => {
    const buyer = await shop.newBuyer()
    for (let count = number; !signal.aborted; count += 1) await buy(buyer, count)
  }
  await Promise.all(Array.from({ length: customers }, (_, number) => customer(number)))
  return begun
}
