import { afterAll, afterEach, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { redis as service } from '../../scripts/services/redis.ts'
import { openDetour } from '../test/detour.ts'
import { eventually } from '../test/eventually.ts'
import { silent } from '../test/messaging.ts'
import { ownServer } from '../test/own-server.ts'
import { messageThrownBy, thrownBy } from '../test/thrown.ts'
import { DomainError, UnavailableError } from './errors.ts'
import { type Followed, createNews, follow } from './news.ts'
import { type RedisClient, openRedis } from './redis.ts'

setDefaultTimeout(60_000)

const server = await ownServer(service, 'news')
const writer = openRedis({ url: server.url, name: 'writer', log: silent })
let raw: Bun.RedisClient
let clients: RedisClient[] = []
let leaving = new AbortController()

beforeEach(async () => {
  raw = new Bun.RedisClient(server.url)
  await writer.connected(10_000)
  await raw.send('FLUSHALL', [])
  leaving = new AbortController()
})

afterEach(() => {
  leaving.abort()
  for (const client of clients) client.close()
  clients = []
  raw.close()
})

afterAll(async () => {
  writer.close()
  await server.remove()
})

type Thing = { id: string; version: number }

const key = 'orders:thing:a'

const write = (version: number, places?: { list: string; id: string; member: boolean }[]) =>
  writer.setUnlessNewer([{ key, version, value: JSON.stringify({ id: 'a', version }), ...(places ? { places } : {}) }])

const connect = async (url = server.url) => {
  const redis = openRedis({ url, name: 'reader', log: silent })
  clients.push(redis)
  await redis.connected(10_000)
  return redis
}

/** Never looks but when it hears of something, unless it is told to. */
const open = (redis: RedisClient, options: Partial<Followed<Thing>> = {}) =>
  follow(createNews(redis), {
    keys: [key],
    read: async () => JSON.parse((await redis.get([key]))[0] ?? '{"version":0}') as Thing,
    until: new Date(Date.now() + 3_600_000),
    signal: leaving.signal,
    lookEveryMs: 3_600_000,
    ...options,
  })

/** What a reader that is always there is given. */
const collect = (things: AsyncIterable<Thing>) => {
  const versions: number[] = []
  const collecting = async () => {
    for await (const { version } of things) versions.push(version)
  }
  return { versions, ended: collecting().catch((error: unknown) => error) }
}

const channels = async (): Promise<string[]> => (await raw.send('PUBSUB', ['CHANNELS', '*'])) as string[]

test('the present state comes at once, then each newer version: none twice and none that is older', async () => {
  await write(3)
  const { versions } = collect(open(await connect()))
  await eventually(() => expect(versions).toEqual([3]))
  await write(4)
  await eventually(() => expect(versions).toEqual([3, 4]))
  await write(2)
  await write(4)
  await write(5)
  await eventually(() => expect(versions).toEqual([3, 4, 5]))
})

test('of many changes at the same time the newest is never missed', async () => {
  const readers = await Promise.all(Array.from({ length: 5 }, async () => collect(open(await connect()))))
  const shuffled = Array.from({ length: 200 }, (_, index) => index + 1).toSorted(() => Math.random() - 0.5)
  await Promise.all(shuffled.map((version) => write(version)))
  for (const { versions } of readers) {
    await eventually(() => expect(versions.at(-1)).toBe(200))
    expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b))
  }
})

test('a reader that is slow is given the newest, and what was in between is not kept for it', async () => {
  await write(1)
  let looks = 0
  const redis = await connect()
  const things = open(redis, {
    read: async () => {
      looks += 1
      return JSON.parse((await redis.get([key]))[0] ?? '') as Thing
    },
  })
  expect((await things.next()).value).toMatchObject({ version: 1 })
  for (let version = 2; version <= 500; version += 1) await write(version)
  expect((await things.next()).value).toMatchObject({ version: 500 })
  // Once more at the most, when the last word comes after the look.
  expect(looks).toBeLessThanOrEqual(3)
})

test('what changed while the connection was lost is found when it stands again', async () => {
  await write(1)
  const detour = await openDetour(server.url)
  const { versions } = collect(open(await connect(detour.url)))
  await eventually(() => expect(versions).toEqual([1]))
  await detour.cut()
  await write(2)
  await detour.mend()
  await eventually(() => expect(versions).toEqual([1, 2]), 20_000)
  await write(3)
  await eventually(() => expect(versions).toEqual([1, 2, 3]))
  leaving.abort()
  await detour.cut()
})

test('a Redis that is away for a while ends nothing', async () => {
  await write(1)
  const redis = await connect()
  let failed = 0
  const read = async () => {
    const [stored] = await redis.get([key]).catch((error: unknown) => {
      failed += 1
      throw error
    })
    return JSON.parse(stored ?? '{"version":0}') as Thing
  }
  const { versions } = collect(open(redis, { lookEveryMs: 50, read }))
  await eventually(() => expect(versions).toEqual([1]))
  await server.end('SIGKILL')
  await eventually(() => expect(failed).toBeGreaterThan(1))
  await server.start()
  await writer.connected(10_000)
  await write(7)
  await eventually(() => expect(versions).toEqual([1, 7]), 20_000)
})

test('what nobody said is found a little later', async () => {
  await write(1)
  const { versions } = collect(open(await connect(), { lookEveryMs: 50 }))
  await eventually(() => expect(versions).toEqual([1]))
  await raw.send('SET', [key, '{"id":"a","version":2}'])
  await eventually(() => expect(versions).toEqual([1, 2]))
})

test('it looks again at its time, and what the look throws ends it', async () => {
  await write(1)
  const redis = await connect()
  const { versions, ended } = collect(
    open(redis, {
      until: new Date(Date.now() + 300),
      read: () =>
        versions.length > 0
          ? Promise.reject(new DomainError('over', 'over'))
          : Promise.resolve({ id: 'a', version: 1 }),
    }),
  )
  expect(await ended).toMatchObject({ code: 'over' })
  expect(versions).toEqual([1])
  await eventually(async () => expect(await channels()).toEqual([]))
})

test('whoever leaves is forgotten, and whoever stays goes on hearing', async () => {
  await write(1)
  const redis = await connect()
  const [first, second] = [new AbortController(), new AbortController()]
  const one = collect(open(redis, { signal: first.signal }))
  const two = collect(open(redis, { signal: second.signal }))
  await eventually(() => expect([one.versions, two.versions]).toEqual([[1], [1]]))
  expect(await channels()).toEqual([key])
  first.abort()
  expect(await one.ended).toBeUndefined()
  await write(2)
  await eventually(() => expect(two.versions).toEqual([1, 2]))
  second.abort()
  expect(await two.ended).toBeUndefined()
  await eventually(async () => expect(await channels()).toEqual([]))
  const again = collect(open(redis))
  await eventually(() => expect(again.versions).toEqual([2]))
  await write(3)
  await eventually(() => expect(again.versions).toEqual([2, 3]))
  expect([one.versions, two.versions]).toEqual([[1], [1, 2]])
})

test('with Redis away from the beginning it is refused, in a bounded time, and leaves nothing', async () => {
  const detour = await openDetour(server.url)
  const redis = await connect(detour.url)
  await detour.cut()
  expect(await thrownBy(open(redis).next())).toBeInstanceOf(UnavailableError)
  await detour.mend()
  await redis.connected(10_000)
  await eventually(async () => expect(await raw.send('PUBSUB', ['NUMSUB', key])).toEqual([key, 0]))
  await detour.cut()
})

test('a flag that is set is said too', async () => {
  const { versions } = collect(open(await connect()))
  await eventually(async () => expect(await channels()).toEqual([key]))
  await writer.setAll([{ key, value: '{"id":"a","version":1}', ttlMs: 60_000 }])
  await eventually(() => expect(versions).toEqual([1]))
})

test('a fault ends it at the first look and at a later one', async () => {
  await write(1)
  const redis = await connect()
  const broken = open(redis, { read: () => Promise.reject(new Error('broken')) })
  expect(await messageThrownBy(broken.next())).toBe('broken')
  let looks = 0
  const breaking = open(redis, {
    read: () => ((looks += 1) > 1 ? Promise.reject(new Error('broken')) : Promise.resolve({ id: 'a', version: 1 })),
  })
  await breaking.next()
  await write(2)
  expect(await messageThrownBy(breaking.next())).toBe('broken')
  await eventually(async () => expect(await channels()).toEqual([]))
})

test('places in lists change with the version that says so, and with no older one', async () => {
  const list = 'orders:open'
  const place = (member: boolean) => [{ list, id: 'a', member }]
  const members = () => writer.newestOfList(list, undefined, 10)
  await write(1, place(true))
  expect(await members()).toEqual(['a'])
  await write(3, place(false))
  await write(2, place(true))
  expect(await members()).toEqual([])
  // A rebuild writes the same version again, and repairs the list.
  await raw.send('ZADD', [list, '0', 'a'])
  await write(3, place(false))
  expect(await members()).toEqual([])
})
