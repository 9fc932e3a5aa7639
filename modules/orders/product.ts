import { DomainError } from '#platform/errors'
import type { Money } from '#platform/money'

export type Product = {
  sku: string
  name: string
  price: Money
  stock: number
  added: number
  version: number
  sequence: number
}

export const createProduct = ({ sku, name, price }: Pick<Product, 'sku' | 'name' | 'price'>): Product => ({
  sku,
  name,
  price,
  stock: 0,
  added: 0,
  version: 1,
  sequence: 1,
})

export const describeProduct = (product: Product, { name, price }: Pick<Product, 'name' | 'price'>): Product => ({
  ...product,
  name,
  price,
  version: product.version + 1,
  sequence: product.sequence + 1,
})

/** Adds stock, or takes unsold stock away. @throws DomainError `out-of-stock` when it would fall below zero */
export const addStock = (product: Product, delta: number): Product => {
  if (product.stock + delta < 0) throw new DomainError('out-of-stock', `There are ${product.stock} of ${product.sku}.`)
  return {
    ...product,
    stock: product.stock + delta,
    added: product.added + delta,
    version: product.version + 1,
    sequence: product.sequence + 1,
  }
}

/** Takes pieces for an order. @throws DomainError `out-of-stock` */
export const reserve = (product: Product, quantity: number): Product => {
  if (product.stock < quantity)
    throw new DomainError('out-of-stock', `There are only ${product.stock} of ${product.sku}.`)
  return { ...product, stock: product.stock - quantity, version: product.version + 1 }
}

/** Gives the pieces of an order back. */
export const giveBack = (product: Product, quantity: number): Product => ({
  ...product,
  stock: product.stock + quantity,
  version: product.version + 1,
})
