import { DomainError, OverloadedError } from '#platform/errors'
import { type News, follow } from '#platform/news'
import { snapshotKey } from '#platform/snapshot-reader'
import { sessionSnapshots } from '#modules/users'
import type { Call } from '../call.ts'
import type { Identity } from '../identity.ts'
import { unauthenticated } from '../problems.ts'

type Named = { module: string; thing: string; id: string }

/** The subscriptions that this process holds open. */
export type Streams = {
  /**
   * What `read` finds, now and after each change of the snapshot it is about, for as long as the caller's session lives:
   * `read` has to check it, and is asked again when it ends.
   */
  follow<Thing extends { version: number }>(call: Call, about: Named, read: () => Promise<Thing>): AsyncIterable<Thing>
  /** How many are open. */
  count(): number
  /** Ends all that are open and refuses others: their clients are told to subscribe again. */
  end(): void
}

export type StreamLimits = { maxStreams: number; maxStreamsPerUser: number }

export const createStreams = (news: News, { maxStreams, maxStreamsPerUser }: StreamLimits): Streams => {
  const ending = new AbortController()
  const open = new Map<string, number>()
  let count = 0

  const enter = ({ userId }: Identity): (() => void) => {
    const own = open.get(userId) ?? 0
    if (count >= maxStreams) throw new OverloadedError('Too many subscriptions at once.')
    if (own >= maxStreamsPerUser)
      throw new DomainError('too-many-streams', `You have ${own} subscriptions open: end one first.`)
    count += 1
    open.set(userId, own + 1)
    return () => {
      count -= 1
      const left = (open.get(userId) ?? 1) - 1
      if (left > 0) open.set(userId, left)
      else open.delete(userId)
    }
  }

  /** Nothing is held before the first `next`: a stream that nobody comes to read leaves nothing behind. */
  async function* read<Thing extends { version: number }>(
    call: Call,
    about: Named,
    look: () => Promise<Thing>,
    leaving: AbortSignal,
  ): AsyncGenerator<Thing, void> {
    const identity = await call.identify()
    if (!identity) throw unauthenticated()
    const leave = enter(identity)
    try {
      yield* follow(news, {
        keys: [about, ...sessionSnapshots(identity)].map(({ module, thing, id }) => snapshotKey(module, thing, id)),
        read: look,
        until: identity.expiresAt,
        signal: AbortSignal.any([leaving, ending.signal]),
      })
      if (!leaving.aborted) throw new DomainError('unavailable', 'This process stops: subscribe again.')
    } finally {
      leave()
    }
  }

  return {
    follow: (call, about, look) => {
      const leaving = new AbortController()
      return leaveAtOnce(read(call, about, look, leaving.signal), leaving)
    },
    count: () => count,
    end: () => ending.abort(),
  }
}

/** A generator is not left while it waits, so it is woken first. */
const leaveAtOnce = <Thing>(states: AsyncGenerator<Thing, void>, leaving: AbortController): AsyncIterable<Thing> => ({
  [Symbol.asyncIterator]: () => ({
    next: () => states.next(),
    return: () => {
      leaving.abort()
      return states.return()
    },
  }),
})
