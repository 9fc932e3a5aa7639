import { z } from 'zod'
import { decodeOnce } from './decode.ts'
import { UnavailableError } from './errors.ts'
import type { RedisClient } from './redis.ts'

/** A part of a list; `next` is the id that the next part comes before, undefined at the end. */
export type Page = { stored: string[]; next: string | undefined }

export type SnapshotReader = {
  /**
   * The snapshot as stored, null when no such aggregate exists; one round trip, shared by the reads of one tick.
   * @throws UnavailableError when Redis is away or does not hold all snapshots now
   */
  read(thing: string, id: string): Promise<string | null>
  /** Several as `read` gives each, in their order. */
  readAll(wanted: [thing: string, id: string][]): Promise<(string | null)[]>
  /**
   * The stored snapshots of a list, newest id first, from the one before `before`; two round trips, however many.
   * @throws UnavailableError as `read` does
   */
  list(thing: string, list: string, options: { before?: string | undefined; limit: number }): Promise<Page>
  /** Whether the module keeps snapshots of this thing. */
  has(thing: string): boolean
  /** The version that the stored snapshot has; 0 when there is none. Does not ask whether Redis is complete. */
  version(thing: string, id: string): Promise<number>
  /** Whether Redis holds every snapshot of the module. */
  complete(): Promise<boolean>
}

export type SnapshotReaderOptions = {
  module: string
  redis: RedisClient
  /** The things that there are snapshots of; `flags` where one is a flag and has none. */
  sources: { thing: string; flags?: unknown }[]
  /** Called when Redis does not hold everything. */
  incomplete?: () => void
}

const marker = z.object({ runId: z.string(), evictedKeys: z.int() })

/** A marker says that Redis held every snapshot, for one run of the server and as long as it evicted nothing. */
export type Marker = z.infer<typeof marker>

export const markerKey = (module: string): string => `${module}:snapshots:complete`

export const snapshotKey = (module: string, thing: string, id: string): string => `${module}:${thing}:${id}`

/** Reads a module's snapshots in Redis, also where another process hosts the module: who hosts it fills and heals them. */
export const createSnapshotReader = (options: SnapshotReaderOptions): SnapshotReader => {
  const { module, redis, sources, incomplete = () => undefined } = options
  const completeKey = markerKey(module)
  const decodeMarker = decodeOnce(marker, 1)

  const sourceOf = (thing: string) => sources.find((source) => source.thing === thing)

  const valid = (stored: string | null | undefined): boolean => {
    const server = redis.server()
    if (!stored || !server) return false
    const { runId, evictedKeys } = decodeMarker(stored)
    return runId === server.runId && evictedKeys === server.evictedKeys
  }

  const refuse = (): never => {
    incomplete()
    throw new UnavailableError(`The snapshots of ${module} are being rebuilt.`)
  }

  const readAll: SnapshotReader['readAll'] = async (wanted) => {
    const keys = wanted.map(([thing, id]) => snapshotKey(module, thing, id))
    keys.push(completeKey)
    const stored = await redis.get(keys)
    const held = stored.pop()
    if (!valid(held)) return refuse()
    const missing = wanted.some(([thing], at) => stored[at] === null && !sourceOf(thing)?.flags)
    // The server may have begun to evict since it was last looked at; a snapshot that was never written is rare.
    if (missing) await redis.inspect()
    return missing && !valid(held) ? refuse() : stored
  }

  return {
    read: async (thing, id) => (await readAll([[thing, id]]))[0] ?? null,
    readAll,
    list: async (thing, list, { before, limit }) => {
      const [ids, [held]] = await Promise.all([
        redis.newestOfList(`${module}:${list}`, before, limit + 1),
        redis.get([completeKey]),
      ])
      if (!valid(held)) refuse()
      const shown = ids.slice(0, limit)
      const stored = await redis.get(shown.map((id) => snapshotKey(module, thing, id)))
      return {
        // What was listed a moment ago may not be written yet.
        stored: stored.filter((value) => value !== null),
        next: ids.length > limit ? shown.at(-1) : undefined,
      }
    },
    has: (thing) => {
      const source = sourceOf(thing)
      return source !== undefined && !source.flags
    },
    version: async (thing, id) => {
      const [stored] = await redis.get([snapshotKey(module, thing, id)])
      return stored ? (JSON.parse(stored) as { version: number }).version : 0
    },
    complete: async () => valid((await redis.get([completeKey]))[0]),
  }
}
