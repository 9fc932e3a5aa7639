import type { OrderSnapshot } from '#modules/orders'
import { messageOf } from '#platform/errors'

export type Customer = {
  id: string
  token: string
  email: string
  /** The name that was answered last. */
  name: string
  /** Names of tries that were not answered: a process that wakes up may still carry one out. */
  late: Set<string>
  /** The highest version that was answered. */
  version: number
  closing: boolean
  closed: boolean
}

/** What the clients were answered, and so what must be true in the end. */
export const createRecord = () => {
  const breaches: string[] = []
  const orders = new Map<string, { owner: Customer; cancelled: boolean }>()
  const checkouts = new Map<string, Customer>()
  const refunds = new Set<string>()
  const settlements = new Set<string>()
  const stock = new Map<string, number>()
  const customers: Customer[] = []
  const signedOut = new Set<string>()
  const counts = new Map<string, number>()
  /** The lines of the products of which a change was never answered. */
  const unsure = new Set<string>()
  let lastAnswerAt = performance.now()
  let longest = { ms: 0, endedAt: lastAnswerAt }

  return {
    breaches,
    orders,
    checkouts,
    refunds,
    settlements,
    stock,
    customers,
    signedOut,
    counts,
    unsure,
    breach: (what: string) => {
      // One fault of the product can show itself thousands of times.
      if (breaches.length < 1_000) breaches.push(what)
    },
    /** Notes that a command was answered. */
    answered: (command: string, status: number): void => {
      const now = performance.now()
      if (now - lastAnswerAt > longest.ms) longest = { ms: now - lastAnswerAt, endedAt: now }
      lastAnswerAt = now
      const name = status < 400 ? command : `${command} refused`
      counts.set(name, (counts.get(name) ?? 0) + 1)
    },
    /** Counts from here on. */
    begin: (): void => {
      counts.clear()
      lastAnswerAt = performance.now()
      longest = { ms: 0, endedAt: lastAnswerAt }
    },
    addStock: (sku: string, delta: number) => stock.set(sku, (stock.get(sku) ?? 0) + delta),
    order: (owner: Customer, { id, userId }: Pick<OrderSnapshot, 'id' | 'userId'>): void => {
      if (userId !== owner.id) breaches.push(`order ${id} was answered to ${owner.id} and is of ${userId}`)
      if (!orders.has(id)) orders.set(id, { owner, cancelled: false })
    },
    /** How long nothing at all was answered, at the longest. */
    longestStall: () => longest,
  }
}

export type Record = ReturnType<typeof createRecord>

/** Runs one of many endless or long pieces of work; what it throws is a breach, since everything expected is an answer. */
export const watched = async (record: Record, name: string, work: () => Promise<void>): Promise<void> => {
  try {
    await work()
  } catch (error) {
    record.breach(`${name}: ${messageOf(error)}`)
  }
}
