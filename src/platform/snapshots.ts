import { UnavailableError, messageOf } from './errors.ts'
import type { Log } from './log.ts'
import type { Tx } from './postgres.ts'
import type { RedisClient } from './redis.ts'
import { sleep } from './retry.ts'
import { type Marker, type SnapshotReader, createSnapshotReader, markerKey, snapshotKey } from './snapshot-reader.ts'
import { snapshotDifferences } from './snapshot-differences.ts'

/** One aggregate as the query side answers with it. */
export type Snapshot = { id: string; version: number }

/** Where a module's snapshots of one thing come from: its own tables. */
export type SnapshotSource<Kept extends Snapshot = Snapshot> = {
  /** The middle part of the key: `<module>:<thing>:<id>`. */
  thing: string
  /** The present snapshots of these ids. */
  load(tx: Tx, ids: string[]): Promise<Kept[]>
  /** The next `limit` snapshots by id, from the one after `after`. */
  page(tx: Tx, after: string | undefined, limit: number): Promise<Kept[]>
  /** The lists that the snapshot belongs to for good, each ordered by id: `<module>:<list>`. */
  lists?(snapshot: Kept): string[]
  /** The lists that the snapshot can be in for a time, and whether it is with this version; each ordered by id. */
  passingLists?(snapshot: Kept): { list: string; member: boolean }[]
  /** The ids that are flagged, each until a time; for a thing that is a flag and has no snapshots. */
  flags?(tx: Tx, now: Date): Promise<{ id: string; until: Date }[]>
}

/** Names one version of one snapshot: what a `Consistency-Token` is made of. */
export type SnapshotVersion = { module: string; thing: string; id: string; version: number }

/** The read side of a module and what keeps it; a read that finds Redis incomplete starts a rebuild. */
export type Snapshots = SnapshotReader & {
  /** Writes these, each unless a newer version is stored. */
  write(thing: string, snapshots: Snapshot[]): Promise<void>
  /** Projects the present state of these aggregates from the tables as `tx` sees them. */
  project(tx: Tx, thing: string, ids: string[]): Promise<void>
  /** Lets go of the snapshots of these ids that the tables, as `tx` sees them, no longer have; for what is in no list for good. */
  forget(tx: Tx, ids: string[]): Promise<void>
  /** Marks an id until a time; `read` answers a string for it until then. */
  flag(thing: string, id: string, until: Date): Promise<void>
  /**
   * One sentence for each snapshot, flag and place in a list that Redis holds otherwise than the tables say, lacks, or has
   * beyond them; at most a hundred. While others write, what they change at the same time may be among them.
   */
  differences(): Promise<string[]>
  /**
   * Fills Redis from the tables, while others read and write; reads go on being answered if Redis was complete. Returns how
   * many snapshots were visited.
   */
  rebuild(progress?: (count: number) => void): Promise<number>
  /** Looks every second whether Redis is still complete, and rebuilds when it is not. */
  watch(): void
  stop(): Promise<void>
}

export type SnapshotsOptions = {
  module: string
  redis: RedisClient
  read: Tx
  sources: SnapshotSource[]
  log: Log
  pageSize?: number
}

const rebuildTtlMs = 15_000
const watchEveryMs = 1_000

/** The read side of a module in Redis. */
export const createSnapshots = ({ module, redis, read, sources, log, pageSize = 500 }: SnapshotsOptions): Snapshots => {
  const rebuildKey = `${module}:snapshots:rebuild`
  const stopping = new AbortController()
  let rebuilding: Promise<number> | undefined
  let watching: Promise<void> | undefined

  const sourceOf = (thing: string): SnapshotSource => {
    const source = sources.find((candidate) => candidate.thing === thing)
    if (!source) throw new Error(`The module ${module} has no snapshots of ${thing}.`)
    return source
  }

  const placesOf = (passing: { list: string; member: boolean }[], id: string) =>
    passing.map(({ list, member }) => ({ list: `${module}:${list}`, id, member }))

  const write: Snapshots['write'] = async (thing, snapshots) => {
    const { lists, passingLists } = sourceOf(thing)
    if (lists) {
      await redis.addToLists(
        snapshots.flatMap((snapshot) => lists(snapshot).map((list) => ({ key: `${module}:${list}`, id: snapshot.id }))),
      )
    }
    await redis.setUnlessNewer(
      snapshots.map((snapshot) => ({
        key: snapshotKey(module, thing, snapshot.id),
        version: snapshot.version,
        value: JSON.stringify(snapshot),
        ...(passingLists ? { places: placesOf(passingLists(snapshot), snapshot.id) } : {}),
      })),
    )
  }

  const setFlags = async (thing: string, flags: { id: string; until: Date }[]) => {
    const now = Date.now()
    const entries = flags.map(({ id, until }) => ({
      key: snapshotKey(module, thing, id),
      value: '1',
      ttlMs: until.getTime() - now,
    }))
    await redis.setAll(entries.filter(({ ttlMs }) => ttlMs > 0))
  }

  const flag: Snapshots['flag'] = (thing, id, until) => setFlags(thing, [{ id, until }])

  const fill = async (progress: ((count: number) => void) | undefined, token: string): Promise<number | undefined> => {
    let count = 0
    for (const source of sources) {
      for (let after: string | undefined; ;) {
        const page = await source.page(read, after, pageSize)
        await write(source.thing, page)
        count += page.length
        progress?.(count)
        after = page.at(-1)?.id
        if (page.length < pageSize || after === undefined) break
        if (!(await redis.extend(rebuildKey, token, rebuildTtlMs))) return undefined
      }
      const flags = (await source.flags?.(read, new Date())) ?? []
      for (let start = 0; start < flags.length; start += pageSize) {
        await setFlags(source.thing, flags.slice(start, start + pageSize))
        if (!(await redis.extend(rebuildKey, token, rebuildTtlMs))) return undefined
      }
    }
    return count
  }

  /** One process rebuilds at a time; the guard key is lost with a flush or restart, and then the marker is not set. */
  const rebuildOnce = async (progress?: (count: number) => void): Promise<number | undefined> => {
    const server = await redis.inspect()
    if (server.evictionPolicy !== 'noeviction') {
      throw new UnavailableError(`Redis evicts keys (${server.evictionPolicy}): set maxmemory-policy noeviction.`)
    }
    const token = Bun.randomUUIDv7()
    if (!(await redis.set(rebuildKey, token, { ttlMs: rebuildTtlMs, onlyIfAbsent: true }))) return undefined
    const count = await fill(progress, token).catch(async (error: unknown) => {
      // Nobody should have to wait until the guard of a rebuild that failed has expired.
      await redis.extend(rebuildKey, token, 1).catch(() => undefined)
      throw error
    })
    if (count === undefined) return undefined
    const marker: Marker = { runId: server.runId, evictedKeys: server.evictedKeys }
    return (await redis.setIfGuarded(markerKey(module), JSON.stringify(marker), rebuildKey, token)) ? count : undefined
  }

  const differences: Snapshots['differences'] = async () => {
    const keyOf = (thing: string, id: string) => snapshotKey(module, thing, id)
    const found = new Set<string>()
    for await (const difference of snapshotDifferences({ module, redis, read, sources, pageSize, keyOf })) {
      found.add(difference)
      if (found.size === 100) break
    }
    return [...found]
  }

  const rebuild: Snapshots['rebuild'] = async (progress) => {
    for (;;) {
      stopping.signal.throwIfAborted()
      const count = await rebuildOnce(progress)
      if (count !== undefined) return count
      await sleep(100, stopping.signal)
    }
  }

  /** Rebuilds unless that goes on already, here or in another process. */
  const heal = () => {
    if (rebuilding || stopping.signal.aborted) return
    const startedAt = performance.now()
    rebuilding = rebuildOnce().then((count) => count ?? 0)
    rebuilding
      .then((count) => {
        if (count > 0)
          log.info(
            { module, snapshots: count, tookMs: Math.round(performance.now() - startedAt) },
            'snapshots were rebuilt',
          )
      })
      .catch((error: unknown) => log.warn({ module, error: messageOf(error) }, 'snapshots could not be rebuilt'))
      .finally(() => {
        rebuilding = undefined
      })
  }

  const reader = createSnapshotReader({ module, redis, sources, incomplete: heal })

  return {
    ...reader,
    write,
    flag,
    project: async (tx, thing, ids) => {
      if (ids.length > 0) await write(thing, await sourceOf(thing).load(tx, ids))
    },
    forget: async (tx, ids) => {
      for (const { thing, load, lists, flags } of sources) {
        if (lists || flags) continue
        const known = new Set((await load(tx, ids)).map(({ id }) => id))
        await redis.delete(ids.filter((id) => !known.has(id)).map((id) => snapshotKey(module, thing, id)))
      }
    },
    rebuild,
    differences,
    watch: () => {
      watching ??= (async () => {
        while (!stopping.signal.aborted) {
          try {
            await redis.inspect()
            if (!(await reader.complete())) heal()
          } catch (error) {
            log.debug({ module, error: messageOf(error) }, 'redis could not be inspected')
          }
          await sleep(watchEveryMs, stopping.signal)
        }
      })()
    },
    stop: async () => {
      stopping.abort()
      await Promise.allSettled([watching, rebuilding])
    },
  }
}
