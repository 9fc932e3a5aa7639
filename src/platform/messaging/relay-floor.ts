import type { Run } from '../postgres.ts'

/** Below which id the outbox need not be searched, so that a long drain does not pass over all the rows it has deleted. */
export type Floor = {
  /** The id above which the next read begins. */
  current(): string
  /** Notes the last row that a read took into hand; every row below it is in hand, sent or not committed yet. */
  read(lastId: string | undefined): Promise<void>
  /** Makes the next read alone begin at the lowest id. */
  lookBack(): void
  /** Forgets the floor: rows below it may have become ours, or were let go unsent. */
  reset(): void
}

const everyReads = 8

const snapshot = `select pg_snapshot_xmin(taken)::text as xmin, pg_snapshot_xmax(taken)::text as xmax
  from pg_current_snapshot() as taken`

/**
 * A row may be committed after rows of higher ids were read: its transaction was then under way at that read, and another
 * message of its key may follow. So an id becomes the floor only when every transaction that was under way when it was
 * read has ended, and one more read has begun below it since. A transaction that stays open only keeps the floor low.
 */
export const createFloor = (run: Run): Floor => {
  let floor = '0'
  let lookingBack = false
  let candidate: { id: string; xmax: bigint } | undefined
  let confirmed: string | undefined
  let reads = 0
  return {
    current: () => (lookingBack ? '0' : floor),
    lookBack: () => {
      lookingBack = true
    },
    reset: () => {
      floor = '0'
      candidate = undefined
      confirmed = undefined
    },
    read: async (lastId) => {
      lookingBack = false
      if (confirmed !== undefined) {
        floor = confirmed
        confirmed = undefined
      }
      reads += 1
      if (lastId === undefined || reads % everyReads !== 0) return
      const [row] = await run(snapshot)
      if (!row) return
      if (candidate && BigInt(String(row['xmin'])) >= candidate.xmax) confirmed = candidate.id
      candidate = { id: lastId, xmax: BigInt(String(row['xmax'])) }
    },
  }
}

/** The ids as the text of a multirange: neighbours become one range. */
export const multirange = (ids: string[]): string => {
  const sorted = ids.map(Number).toSorted((a, b) => a - b)
  const ranges: { first: number; last: number }[] = []
  for (const id of sorted) {
    const range = ranges.at(-1)
    if (range && id <= range.last + 1) range.last = id
    else ranges.push({ first: id, last: id })
  }
  return `{${ranges.map(({ first, last }) => `[${first},${last}]`).join(',')}}`
}
