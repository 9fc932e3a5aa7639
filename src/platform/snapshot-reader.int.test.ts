import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { silent } from '../test/messaging.ts'
import { testServices } from '../test/services.ts'
import { thrownBy } from '../test/thrown.ts'
import { UnavailableError } from './errors.ts'
import { moduleElsewhere } from './module-elsewhere.ts'
import { openRedis } from './redis.ts'
import { createSnapshotReader, markerKey, snapshotKey } from './snapshot-reader.ts'

setDefaultTimeout(60_000)

const { REDIS_URL } = await testServices()
const redis = openRedis({ url: REDIS_URL, name: 'test', log: silent })
await redis.connected(5_000)

afterAll(() => redis.close())

/** The snapshots of a module of this test alone: one thing, in one list. */
const openReader = async () => {
  const module = `reader-${Bun.randomUUIDv7()}`
  const kept = JSON.stringify({ id: 'a', version: 3 })
  await redis.set(snapshotKey(module, 'thing', 'a'), kept, { ttlMs: 60_000 })
  await redis.addToLists([{ key: `${module}:things`, id: 'a' }])
  let reported = 0
  const sources = [{ thing: 'thing' }, { thing: 'flag', flags: () => [] }]
  const reader = createSnapshotReader({ module, redis, sources, incomplete: () => (reported += 1) })
  const mark = async (marker: { runId?: string; evictedKeys?: number }) => {
    const value = JSON.stringify({ ...(await redis.inspect()), ...marker })
    await redis.set(markerKey(module), value, { ttlMs: 60_000 })
  }
  return { module, kept, reader, mark, reported: () => reported }
}

const all = { limit: 10 }

describe('what a host has marked as complete', () => {
  test('is read: what is there, what is not, and lists', async () => {
    const { reader, kept, mark, reported } = await openReader()
    await mark({})
    expect(await reader.complete()).toBe(true)
    expect(await reader.read('thing', 'a')).toBe(kept)
    expect(await reader.read('thing', 'b')).toBeNull()
    expect(await reader.list('thing', 'things', all)).toEqual({ stored: [kept], next: undefined })
    expect(await reader.version('thing', 'a')).toBe(3)
    expect([reader.has('thing'), reader.has('flag'), reader.has('other')]).toEqual([true, false, false])
    expect(reported()).toBe(0)
  })
})

describe('what is not complete is unavailable and never absent', () => {
  const cases = {
    'without a marker': undefined,
    'with the marker of another run of the server': { runId: 'another' },
    'with a marker from before something was evicted': { evictedKeys: -1 },
  }
  for (const [when, marker] of Object.entries(cases)) {
    test(when, async () => {
      const { reader, mark, reported } = await openReader()
      if (marker) await mark(marker)
      expect(await reader.complete()).toBe(false)
      for (const id of ['a', 'b']) expect(await thrownBy(reader.read('thing', id))).toBeInstanceOf(UnavailableError)
      expect(await thrownBy(reader.list('thing', 'things', all))).toBeInstanceOf(UnavailableError)
      // What a change is waited for by is there all the same.
      expect(await reader.version('thing', 'a')).toBe(3)
      expect(reported()).toBe(3)
    })
  }
})

describe('a module that another process hosts', () => {
  const trace = { correlationId: 'test', causationId: 'test' }
  const open = (name: string, reachable: boolean) =>
    moduleElsewhere({ name, redis, sources: [{ thing: 'thing' } as never], reachable })

  test('is read in the context of a query, and changes nothing', async () => {
    const { module, kept, mark } = await openReader()
    await mark({})
    const elsewhere = open(module, true)
    const { snapshots, transact } = elsewhere.context(trace)
    expect(await snapshots.read('thing', 'a')).toBe(kept)
    const key = { userId: 'a', route: 'b', key: 'c', requestHash: 'd' }
    for (const refused of [
      () => transact(async () => undefined),
      () => snapshots.flag('flag', 'a', new Date()),
      () => elsewhere.findAnswer(key),
      () => elsewhere.deadLetters.list(),
      () => elsewhere.sagas.find('a'),
    ])
      expect(await thrownBy(refused())).toMatchObject({ code: 'module-not-hosted' })
    expect(() => elsewhere.context(trace).read.select()).toThrow('does not host')
  })

  test('is answered for with the setting that is missing when nobody knows where it is', () => {
    const elsewhere = open('carts', false)
    expect(() => elsewhere.context(trace)).toThrow('set CARTS_URL')
  })
})
