import { isDeepStrictEqual } from 'node:util'
import { isTransient } from './errors.ts'
import type { Tx } from './postgres.ts'
import type { RedisClient } from './redis.ts'
import type { Snapshot, SnapshotSource } from './snapshots.ts'

export type Compared = {
  module: string
  redis: RedisClient
  read: Tx
  sources: SnapshotSource[]
  pageSize: number
  /** The key in Redis. */
  keyOf(thing: string, id: string): string
}

/** Redis and Postgres let go of a flag by clocks of their own. */
const flagMarginMs = 60_000

/** One sentence for each difference between a module's tables and what Redis holds of them, in pages, both ways. */
export async function* snapshotDifferences(compared: Compared): AsyncGenerator<string> {
  for (const source of compared.sources) {
    yield* lacking(compared, source)
    if (source.flags) yield* lackingFlags(compared, source)
  }
  yield* beyondTables(compared)
  yield* beyondLists(compared)
}

/** What the tables have and Redis has not, or has otherwise. */
async function* lacking(compared: Compared, source: SnapshotSource): AsyncGenerator<string> {
  const { redis, read, pageSize, keyOf } = compared
  for (let after: string | undefined; ;) {
    const page = await source.page(read, after, pageSize)
    const stored = await redis.get(page.map(({ id }) => keyOf(source.thing, id)))
    for (const [index, snapshot] of page.entries()) {
      const difference = differenceOf(stored[index] ?? null, snapshot)
      if (difference) yield `${source.thing} ${snapshot.id} ${difference}`
    }
    yield* lackingInLists(compared, source, page)
    after = page.at(-1)?.id
    if (page.length < pageSize || after === undefined) return
  }
}

/** Names the fields and not what is in them, which may be personal. */
const differenceOf = (stored: string | null, snapshot: Snapshot): string | undefined => {
  if (stored === null) return 'is not in Redis'
  const held = parsed(stored)
  if (held === undefined) return 'is no JSON object in Redis'
  if (isDeepStrictEqual(held, snapshot)) return undefined
  const names = [...new Set([...Object.keys(held), ...Object.keys(snapshot)])]
  const different = names.filter((name) => !isDeepStrictEqual(Reflect.get(held, name), Reflect.get(snapshot, name)))
  return `has version ${held.version} in Redis and ${snapshot.version} in the tables; what differs: ${different.join(', ')}`
}

const isListed = ({ lists, passingLists }: SnapshotSource): boolean => lists !== undefined || passingLists !== undefined

/** The lists that the snapshot belongs to now. */
const listsOf = ({ lists, passingLists }: SnapshotSource, snapshot: Snapshot): string[] => [
  ...(lists?.(snapshot) ?? []),
  ...(passingLists?.(snapshot) ?? []).filter(({ member }) => member).map(({ list }) => list),
]

async function* lackingInLists(
  { module, redis }: Compared,
  source: SnapshotSource,
  page: Snapshot[],
): AsyncGenerator<string> {
  if (!isListed(source)) return
  const places = page.flatMap((snapshot) =>
    listsOf(source, snapshot).map((list) => ({ key: `${module}:${list}`, id: snapshot.id })),
  )
  const there = await redis.inLists(places)
  for (const [index, { key, id }] of places.entries()) {
    if (!there[index]) yield `${source.thing} ${id} is not in the list ${key}`
  }
}

async function* lackingFlags(
  { redis, read, pageSize, keyOf }: Compared,
  source: SnapshotSource,
): AsyncGenerator<string> {
  const flags = (await source.flags?.(read, new Date(Date.now() + flagMarginMs))) ?? []
  for (let start = 0; start < flags.length; start += pageSize) {
    const page = flags.slice(start, start + pageSize)
    const stored = await redis.get(page.map(({ id }) => keyOf(source.thing, id)))
    for (const [index, { id }] of page.entries()) {
      if ((stored[index] ?? null) === null) yield `${source.thing} ${id} is not in Redis`
    }
  }
}

/** Snapshots and flags in Redis that no row stands behind. */
async function* beyondTables(compared: Compared): AsyncGenerator<string> {
  const { module, redis, read, sources, keyOf } = compared
  const flagged = new Map<SnapshotSource, Set<string>>()
  for (const source of sources) {
    const flags = await source.flags?.(read, new Date(Date.now() - flagMarginMs))
    if (flags) flagged.set(source, new Set(flags.map(({ id }) => id)))
  }
  for await (const keys of redis.keys(`${module}:*`, 'values')) {
    for (const source of sources) {
      const prefix = keyOf(source.thing, '')
      const ids = keys.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length))
      const known = flagged.get(source) ?? (await load(compared, source, ids))
      for (const id of ids) if (!known.has(id)) yield `${source.thing} ${id} is in Redis and not in the tables`
    }
  }
}

/** The snapshots that the tables have of these ids. Whatever somebody wrote to Redis may be no id at all, and then fails alone. */
const load = async (compared: Compared, source: SnapshotSource, ids: string[]): Promise<Map<string, Snapshot>> => {
  if (ids.length === 0) return new Map()
  try {
    return new Map((await source.load(compared.read, ids)).map((snapshot) => [snapshot.id, snapshot]))
  } catch (error) {
    if (isTransient(error)) throw error
    const known = new Map<string, Snapshot>()
    if (ids.length === 1) return known
    for (const id of ids) for (const [found, snapshot] of await load(compared, source, [id])) known.set(found, snapshot)
    return known
  }
}

/** Ids in lists that they do not belong to. */
async function* beyondLists(compared: Compared): AsyncGenerator<string> {
  const { module, redis, pageSize } = compared
  for await (const keys of redis.keys(`${module}:*`, 'lists')) {
    for (const key of keys) {
      for (let before: string | undefined; ;) {
        const ids = await redis.newestOfList(key, before, pageSize)
        for (const id of await strangersIn(compared, key, ids))
          yield `the list ${key} has ${id}, which does not belong to it`
        before = ids.at(-1)
        if (ids.length < pageSize || before === undefined) break
      }
    }
  }
}

/** Asks the snapshots in Redis first, which are compared with the tables by themselves, and the tables about the rest. */
const strangersIn = async (compared: Compared, key: string, ids: string[]): Promise<string[]> => {
  const { module, redis, keyOf, sources } = compared
  const list = key.slice(module.length + 1)
  let strangers = ids
  for (const source of sources.filter(isListed)) {
    const stored = await redis.get(strangers.map((id) => keyOf(source.thing, id)))
    strangers = strangers.filter((_, index) => {
      const held = parsed(stored[index] ?? '')
      return !held || !listsOf(source, held).includes(list)
    })
  }
  for (const source of sources.filter(isListed)) {
    const known = await load(compared, source, strangers)
    strangers = strangers.filter((id) => {
      const snapshot = known.get(id)
      return !snapshot || !listsOf(source, snapshot).includes(list)
    })
  }
  return strangers
}

const parsed = (held: string): Snapshot | undefined => {
  try {
    const value: unknown = JSON.parse(held)
    return typeof value === 'object' && value !== null ? (value as Snapshot) : undefined
  } catch {
    return undefined
  }
}
