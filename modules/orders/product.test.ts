import { describe, expect, test } from 'bun:test'
import * as fc from 'fast-check'
import { DomainError } from '#platform/errors'
import { type Product, addStock, createProduct, describeProduct, giveBack, reserve } from './product.ts'

const price = { amount: 450, currency: 'EUR' }

/** Seven of ten are left. */
const tea: Product = { sku: 'TEA', name: 'Tea', price, stock: 7, added: 10, version: 5, sequence: 3 }

test('a new product has no stock, and is its own first version', () => {
  expect(createProduct({ sku: 'TEA', name: 'Tea', price })).toEqual({
    sku: 'TEA',
    name: 'Tea',
    price,
    stock: 0,
    added: 0,
    version: 1,
    sequence: 1,
  })
})

test('describing changes the name and the price and nothing else, as a new version that is announced', () => {
  const dearer = { name: 'Green tea', price: { amount: 500, currency: 'EUR' } }
  expect(describeProduct(tea, dearer)).toEqual({ ...tea, ...dearer, version: 6, sequence: 4 })
})

describe('adding stock', () => {
  test('counts as stock and as all that was ever added, and is announced', () => {
    expect(addStock(tea, 5)).toEqual({ ...tea, stock: 12, added: 15, version: 6, sequence: 4 })
  })

  test('may take away what is unsold, down to nothing', () => {
    expect(addStock(tea, -7)).toMatchObject({ stock: 0, added: 3 })
  })

  test('is refused with out-of-stock when it would take away what is reserved', () => {
    expect(() => addStock(tea, -8)).toThrow(DomainError)
    expect(() => addStock(tea, -8)).toThrow(expect.objectContaining({ code: 'out-of-stock' }))
  })
})

describe('reserving', () => {
  test('takes pieces out of stock, down to the last; the order announces it', () => {
    expect(reserve(tea, 7)).toEqual({ ...tea, stock: 0, version: 6 })
  })

  test('is refused with out-of-stock when there are too few, and takes none', () => {
    expect(() => reserve(tea, 8)).toThrow(DomainError)
    expect(() => reserve(tea, 8)).toThrow(expect.objectContaining({ code: 'out-of-stock' }))
    expect(tea.stock).toBe(7)
  })

  test('and giving back leaves all but the version as it was', () => {
    expect(giveBack(reserve(tea, 3), 3)).toEqual({ ...tea, version: 7 })
  })
})

test('a decision leaves the product that it was made on as it was', () => {
  const before = structuredClone(tea)
  describeProduct(tea, { name: 'Green tea', price })
  addStock(tea, 1)
  reserve(tea, 1)
  giveBack(tea, 1)
  expect(tea).toEqual(before)
})

/** What can be asked of a product; an order gives back only what it has reserved. */
const asked = fc.array(
  fc.record({ what: fc.constantFrom('add', 'reserve', 'give back'), quantity: fc.nat(20), order: fc.nat(5) }),
)

test('whatever is asked, stock and reserved pieces are together all stock ever added, and never below zero', () => {
  fc.assert(
    fc.property(asked, (asked) => {
      let product = createProduct(tea)
      const orders: number[] = []
      for (const { what, quantity, order } of asked) {
        const { version } = product
        try {
          if (what === 'add') product = addStock(product, quantity - 5)
          if (what === 'reserve') {
            product = reserve(product, quantity)
            orders.push(quantity)
          }
          const held = orders[order]
          if (what === 'give back' && held !== undefined) {
            product = giveBack(product, held)
            orders.splice(order, 1)
          }
        } catch (error) {
          expect(error).toMatchObject({ code: 'out-of-stock' })
          expect(product.version).toBe(version)
        }
        const reserved = orders.reduce((sum, quantity) => sum + quantity, 0)
        expect(product.stock + reserved).toBe(product.added)
        expect(product.stock).toBeGreaterThanOrEqual(0)
      }
    }),
  )
})
