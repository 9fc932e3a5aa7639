import { isRestatement } from '#platform/messaging/message'

/** The headers of an event that say which of its key's it is. */
export type EventRecord = { key: string; headers: Record<string, string> }

/** A mark for each number that was seen, the highest that is of a known type, and that of the last restatement. */
type Seen = { marks: number[]; last: number; restated: number; cut: boolean }

/** A type of another release: its place in the sequence is taken, and nothing is said about it. */
const foreign = 0

/** No aggregate of ours comes near it, and a number of somebody else's may be anything. */
const highest = 1_000_000

/** A mark and not the id itself, since there is one for each event that the broker holds. */
const markOf = (id: string): number => Bun.hash.xxHash32(id) || 1

/**
 * Follows the events of many keys, which are numbered 1, 2, 3, ... and may come more than once, first in their order. Types
 * that are not among `types` take their place in the sequence; records without an id, a type or a number are no events. What
 * comes before a restatement may be missing: it says the same again.
 */
export const followEvents = (types: ReadonlySet<string>) => {
  const keys = new Map<string, Seen>()
  return {
    /** Takes the next record in, `cut` when older ones of its partition are gone; answers with what is wrong with it. */
    take: ({ key, headers }: EventRecord, cut: boolean): string | undefined => {
      const { ce_id: id, ce_type: type, ce_sequence: number } = headers
      const sequence = Number(number)
      if (!id || !type || !Number.isInteger(sequence) || sequence < 1 || sequence > highest) return undefined
      const seen = keys.get(key) ?? { marks: [], last: 0, restated: 0, cut }
      keys.set(key, seen)
      const before = seen.marks[sequence] ?? foreign
      if (!types.has(type)) {
        seen.marks[sequence] = before
        return undefined
      }
      if (before !== foreign) {
        return before === markOf(id)
          ? undefined
          : `${key}: event ${sequence} is there twice, the second time as ${type} ${id}`
      }
      const swapped = sequence < seen.last
      seen.marks[sequence] = markOf(id)
      seen.last = Math.max(seen.last, sequence)
      if (isRestatement(type)) seen.restated = seen.last
      return swapped ? `${key}: event ${sequence}, ${type} ${id}, comes after event ${seen.last}` : undefined
    },
    /** Compares a key with the version of its row, and is done with the key; undefined when it has no event at all. */
    compare: (key: string, version: number): string[] | undefined => {
      const seen = keys.get(key)
      keys.delete(key)
      if (!seen) return undefined
      const missing = firstMissing(seen, version)
      return [
        ...(missing === undefined ? [] : [`has version ${version}, and its event ${missing} is missing`]),
        ...(seen.last > version ? [`has version ${version} and an event ${seen.last}`] : []),
      ]
    },
    /** The keys that are left, each with the number of its last event of a known type. */
    left: function* (): Generator<{ key: string; last: number }> {
      for (const [key, { last }] of keys) if (last > 0) yield { key, last }
    },
  }
}

const firstMissing = ({ marks, restated, cut }: Seen, version: number): number | undefined => {
  const first = restated || (cut ? marks.findIndex((mark) => mark !== undefined) : 1)
  for (let sequence = first; sequence <= version; sequence += 1) if (marks[sequence] === undefined) return sequence
  return undefined
}
