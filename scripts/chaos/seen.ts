import { z } from 'zod'
import { orderSnapshot } from '#modules/orders'
import { messageOf } from '#platform/errors'
import { sleep } from '#platform/retry'
import type { Door } from './door.ts'
import type { Random } from './random.ts'
import type { Customer, Record } from './record.ts'

/** Something that an answer named, and who may read it. */
type Thing = { path: string; owner: Customer }

const versioned = z.object({ version: z.int() })

/** Of so many of the newest things one is read, so that changes are met and old ones too. */
const newest = 400

/**
 * What clients have read so far. A snapshot that was there once is never not found again, and never older than it was when
 * the read began.
 */
export const createSeen = (random: Random, record: Record) => {
  const things: Thing[] = []
  const versions = new Map<string, number>()
  const orders: string[] = []
  const payments: string[] = []
  let reads = 0

  const choose = (): Thing | undefined => {
    if (things.length === 0) return undefined
    const from = random.percent(70) ? Math.max(0, things.length - newest) : 0
    return things[random.between(from, things.length)]
  }

  const note = ({ path }: Thing, body: unknown, before: number | undefined) => {
    const version = versioned.safeParse(body).data?.version ?? 0
    if (before !== undefined && version < before)
      record.breach(`${path} was read at version ${before}, and at ${version} after that`)
    if (!versions.has(path) && path.startsWith('/orders/')) orders.push(path.slice('/orders/'.length))
    versions.set(path, Math.max(version, versions.get(path) ?? 0))
    const order = orderSnapshot.safeParse(body).data
    if (order?.status === 'confirmed' && order.paymentId && random.percent(20)) payments.push(order.paymentId)
  }

  /** One read of one process, which may fail, but may not be wrong. */
  const read = async (door: Door): Promise<void> => {
    const thing = choose()
    if (!thing || thing.owner.closing) return
    const { path, owner } = thing
    const before = versions.get(path)
    const answer = await door
      .once({ method: 'GET', path, token: owner.token }, random.pick(door.urls))
      .catch(() => undefined)
    if (!answer || owner.closing) return
    reads += 1
    const { status, body } = answer
    if (status === 200) note(thing, body, before)
    else if (status === 404 && before !== undefined)
      record.breach(`${path} was read before and is answered 404: a false not found`)
    else if (status !== 404 && status < 500) record.breach(`${path} is answered ${status} ${JSON.stringify(body)}`)
  }

  const readDead = async (door: Door): Promise<void> => {
    const dead = [...record.signedOut]
    if (dead.length === 0) return
    const request = { method: 'GET', path: '/orders', token: random.pick(dead) } as const
    const answer = await door.once(request, random.pick(door.urls)).catch(() => undefined)
    if (answer && answer.status !== 401 && answer.status < 500)
      record.breach(`a token that was signed out is answered ${answer.status}`)
  }

  const takeFrom = (ids: string[]): string | undefined =>
    ids.length === 0 ? undefined : ids.splice(random.between(0, ids.length), 1)[0]

  return {
    add: (thing: Thing) => void things.push(thing),
    /** An order that its owner has read. */
    someOrder: () => takeFrom(orders),
    /** An order that was placed just now. */
    recentOrder: (): string | undefined => {
      const path = things[things.length - random.between(1, 40)]?.path ?? ''
      return path.startsWith('/orders/') ? path.slice('/orders/'.length) : undefined
    },
    /** The payment of an order that was read as confirmed. */
    somePayment: () => takeFrom(payments),
    reads: () => reads,
    /** Reads until the signal, so often in a second. */
    keepReading: async (door: Door, perSecond: number, signal: AbortSignal): Promise<void> => {
      while (!signal.aborted) {
        const reading = random.percent(3) ? readDead(door) : read(door)
        reading.catch((error: unknown) => record.breach(`a read failed: ${messageOf(error)}`))
        await sleep(1_000 / perSecond, signal)
      }
    },
  }
}

export type Seen = ReturnType<typeof createSeen>
