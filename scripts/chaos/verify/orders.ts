import { z } from 'zod'
import { type OrderSnapshot, checkoutSnapshot, orderSnapshot } from '#modules/orders'
import type { World } from '../commands.ts'
import { eachOf, read } from './read.ts'

export type Listed = ReadonlyMap<string, OrderSnapshot>

const checkout = checkoutSnapshot.omit({ version: true })
const page = z.object({ items: z.array(orderSnapshot), nextCursor: z.string().nullable() })
const products = z.object({ items: z.array(z.object({ sku: z.string(), stock: z.int() })) })

/** Every order there is, as an operator sees them. */
export const listOrders = async (world: World): Promise<Listed> => {
  const orders = new Map<string, OrderSnapshot>()
  for (let cursor: string | null = ''; cursor !== null;) {
    const path: string = `/orders?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`
    const found: z.infer<typeof page> | undefined = await read(world, page, path, world.operator)
    for (const order of found?.items ?? []) orders.set(order.id, order)
    cursor = found?.nextCursor ?? null
  }
  return orders
}

/** Each answered order is there for its owner, has ended, and is cancelled where that was answered. */
export const verifyOrders = async (world: World, listed: Listed): Promise<void> => {
  const { record, operator } = world
  await eachOf(record.orders, async ([id, { owner, cancelled }]) => {
    const order = await read(world, orderSnapshot, `/orders/${id}`, owner.closing ? operator : owner.token)
    if (!order) return
    if (!listed.has(id)) record.breach(`order ${id} is not in the list of all orders`)
    if (order.userId !== owner.id) record.breach(`order ${id} of ${owner.id} is of ${order.userId}`)
    if (order.status === 'pending') record.breach(`order ${id} is still pending`)
    if (cancelled && order.status !== 'cancelled')
      record.breach(`order ${id} was answered to be cancelled and is ${order.status}`)
    if (owner.closed && order.status !== 'cancelled')
      record.breach(`order ${id} is ${order.status}, and its owner ${owner.id} has closed the account`)
  })
}

/** Each answered checkout is there and has ended, and its order with it. Answers with the ids of their orders. */
export const verifyCheckouts = async (world: World, listed: Listed): Promise<Set<string>> => {
  const { record, operator } = world
  const theirs = new Set<string>()
  await eachOf(record.checkouts, async ([id, owner]) => {
    const found = await read(world, checkout, `/checkouts/${id}`, owner.closing ? operator : owner.token)
    if (!found) return
    const { status, orderId } = found
    if (orderId !== null) theirs.add(orderId)
    const order = orderId === null ? undefined : listed.get(orderId)
    const name = `checkout ${id} is ${status}, and its order ${orderId} ${order?.status ?? 'is not there'}`
    if (status === 'running' || status === 'compensating') record.breach(name)
    if (status === 'compensated' && orderId !== null && order?.status !== 'cancelled') record.breach(name)
    if (status === 'completed' && (!order || order.status === 'pending')) record.breach(name)
    if (owner.closed && order && order.status !== 'cancelled')
      record.breach(`${name}, and its owner ${owner.id} has closed the account`)
  })
  return theirs
}

/**
 * An order that no answer named is the second effect of one command, unless a command was never answered: because the run
 * ended, or because its account was closed before it was sent again.
 */
export const verifyNoMore = ({ record, door }: World, listed: Listed, theirs: Set<string>): void => {
  const leavers = new Set(record.customers.filter(({ closing }) => closing).map(({ id }) => id))
  const more = [...listed.values()].filter(
    ({ id, userId }) => !record.orders.has(id) && !theirs.has(id) && !leavers.has(userId),
  )
  if (more.length <= door.figures.unanswered) return
  const told = more.slice(0, 20).map(({ id, userId, status, createdAt }) => [id, userId, status, createdAt].join(' '))
  record.breach(`${more.length} orders were never answered for: ${told.join(', ')}`)
}

/** What each product has, and what its orders hold, is what the clients were told was added. */
export const verifyStock = async (world: World, listed: Listed): Promise<void> => {
  const { record } = world
  const held = new Map<string, number>()
  for (const { status, lines } of listed.values()) {
    if (status === 'cancelled') continue
    for (const { sku, quantity } of lines) held.set(sku, (held.get(sku) ?? 0) + quantity)
  }
  const { items = [] } = (await read(world, products, '/products', undefined)) ?? {}
  const stock = new Map(items.map((item) => [item.sku, item.stock]))
  for (const [sku, added] of record.stock) {
    const found = (stock.get(sku) ?? 0) + (held.get(sku) ?? 0)
    if (found !== added && !record.unsure.has(sku))
      record.breach(`product ${sku}: ${added} were answered to be added, and ${found} are in stock and in orders`)
  }
}
