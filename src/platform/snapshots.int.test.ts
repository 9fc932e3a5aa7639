import { afterAll, afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { redis as service } from '../../scripts/services/redis.ts'
import { type TestSchema, testSchema } from '../test/database.ts'
import { eventually } from '../test/eventually.ts'
import { silent } from '../test/messaging.ts'
import { type OwnServer, ownServer } from '../test/own-server.ts'
import { messageThrownBy, thrownBy } from '../test/thrown.ts'
import { UnavailableError } from './errors.ts'
import type { Tx } from './postgres.ts'
import { type RedisClient, openRedis } from './redis.ts'
import { type Snapshot, type SnapshotSource, type Snapshots, createSnapshots } from './snapshots.ts'

setDefaultTimeout(60_000)

let schema: TestSchema
let server: OwnServer
let redis: RedisClient
let raw: Bun.RedisClient
let opened: Snapshots[] = []

beforeAll(async () => {
  schema = await testSchema(
    'create table things (id text not null, version int not null, constraint things_pkey primary key (id))',
  )
  server = await ownServer(service, 'snapshots')
  redis = openRedis({ url: server.url, name: 'test', log: silent })
  raw = new Bun.RedisClient(server.url)
})

beforeEach(async () => {
  await redis.connected(5_000)
  await raw.send('FLUSHALL', [])
  await schema.owner.script('truncate orders.things')
})

afterEach(async () => {
  await Promise.all(opened.map((snapshots) => snapshots.stop()))
  opened = []
})

afterAll(async () => {
  redis.close()
  raw.close()
  await server.remove()
  await schema.close()
})

const query = async (tx: Tx, condition: ReturnType<typeof sql>): Promise<Snapshot[]> => {
  const rows = await tx.execute(sql`select id, version from things where ${condition}`)
  return (rows as unknown as [string, number][]).map(([id, version]) => ({ id, version }))
}

const things: SnapshotSource = {
  thing: 'thing',
  load: (tx, ids) => query(tx, sql`id = any (${`{${ids.join(',')}}`})`),
  page: (tx, after, limit) => query(tx, sql`id > ${after ?? ''} order by id limit ${limit}`),
}

const open = (source: Partial<SnapshotSource> = {}, pageSize = 7) => {
  const snapshots = createSnapshots({
    module: 'orders',
    redis,
    read: schema.postgres.read,
    sources: [{ ...things, ...source }],
    log: silent,
    pageSize,
  })
  opened.push(snapshots)
  return snapshots
}

const insert = (count: number) =>
  schema.owner.script(
    `insert into orders.things select 'thing-' || to_char(n, 'FM0000'), 1 from generate_series(1, ${count}) as n`,
  )

const outcomeOf = (snapshots: Snapshots, id: string) =>
  snapshots.read('thing', id).then(
    (stored) => (stored === null ? 'not found' : (JSON.parse(stored) as Snapshot).version),
    (error: unknown) => (error instanceof UnavailableError ? 'unavailable' : error),
  )

const expectAsTables = async (snapshots: Snapshots) => {
  const rows = await schema.owner.run('select id, version from orders.things order by id')
  const ids = rows.map((row) => String(row['id']))
  const stored = await Promise.all(ids.map(async (id) => ({ id, version: await outcomeOf(snapshots, id) })))
  expect(stored).toEqual(rows as typeof stored)
}

test('an older version never overwrites a newer one, in whatever order they come', async () => {
  const snapshots = open()
  const versions = Array.from({ length: 50 }, (_, index) => index + 1).toSorted(() => Math.random() - 0.5)
  await Promise.all(versions.map((version) => snapshots.write('thing', [{ id: 'a', version }])))
  expect(await snapshots.version('thing', 'a')).toBe(50)
  const older = { id: 'a', version: 9 }
  await snapshots.write('thing', [older, { id: 'b', version: 1 }])
  expect([await snapshots.version('thing', 'a'), await snapshots.version('thing', 'b')]).toEqual([50, 1])
})

test('an id without a snapshot is not found only while Redis is known to hold them all', async () => {
  const snapshots = open()
  expect(await outcomeOf(snapshots, 'nobody')).toBe('unavailable')
  await snapshots.rebuild()
  expect(await outcomeOf(snapshots, 'nobody')).toBe('not found')
})

test('a Redis that is flushed while serving answers "unavailable", never "not found", until it is rebuilt', async () => {
  await insert(60)
  const snapshots = open({
    page: async (tx, after, limit) => {
      await Bun.sleep(5)
      return things.page(tx, after, limit)
    },
  })
  await snapshots.rebuild()
  const seen = new Set<unknown>()
  const enough = new AbortController()
  const readers = Promise.all(
    Array.from({ length: 4 }, async () => {
      while (!enough.signal.aborted) {
        seen.add(await outcomeOf(snapshots, 'thing-0060'))
        await new Promise((resolve) => setImmediate(resolve))
      }
    }),
  )
  for (let flush = 0; flush < 3; flush += 1) {
    await raw.send('FLUSHALL', [])
    await eventually(() => expect(seen).toContain('unavailable'))
    await eventually(async () => expect(await outcomeOf(snapshots, 'thing-0060')).toBe(1))
  }
  enough.abort()
  await readers
  expect(seen).toEqual(new Set<unknown>(['unavailable', 1]))
  await expectAsTables(snapshots)
})

test('a Redis that was flushed is noticed without a reader', async () => {
  await insert(10)
  const snapshots = open()
  snapshots.watch()
  await eventually(async () => expect(await snapshots.complete()).toBe(true))
  await raw.send('FLUSHALL', [])
  await eventually(async () => expect(await snapshots.complete()).toBe(true))
  await expectAsTables(snapshots)
})

test('a Redis that was restarted is not believed, though its data came back', async () => {
  await insert(10)
  const snapshots = open()
  await snapshots.rebuild()
  await server.end('SIGTERM')
  await server.start()
  await redis.connected(10_000)
  expect(await raw.send('EXISTS', ['orders:thing:thing-0001'])).toBe(1)
  expect(await snapshots.complete()).toBe(false)
  expect(await outcomeOf(snapshots, 'nobody')).toBe('unavailable')
  await eventually(async () => expect(await outcomeOf(snapshots, 'nobody')).toBe('not found'))
  await expectAsTables(snapshots)
})

test('a Redis that evicted a key is not believed any more, and one that may evict is not filled', async () => {
  await insert(10)
  const snapshots = open()
  await snapshots.rebuild()
  try {
    expect((await redis.inspect()).maxMemory).toBe(0)
    // Evicts keys that expire alone, so that the marker itself stays where it is.
    await raw.send('SET', ['passing', 'x', 'PX', '60000'])
    await raw.send('CONFIG', ['SET', 'maxmemory-policy', 'volatile-random'])
    await raw.send('CONFIG', ['SET', 'maxmemory', '1'])
    await raw.send('SET', ['filler', 'x']).catch(() => undefined)
    await eventually(async () => expect((await redis.inspect()).evictedKeys).toBeGreaterThan(0))
    expect(await raw.send('EXISTS', ['orders:snapshots:complete'])).toBe(1)
    expect(await snapshots.complete()).toBe(false)
    expect(await messageThrownBy(snapshots.rebuild())).toContain('evicts keys')
  } finally {
    await raw.send('CONFIG', ['SET', 'maxmemory', '0'])
    await raw.send('CONFIG', ['SET', 'maxmemory-policy', 'noeviction'])
  }
  await snapshots.rebuild()
  await expectAsTables(snapshots)
})

test('a rebuild while others write ends with every snapshot as its table has it', async () => {
  await insert(60)
  const snapshots = open()
  const enough = new AbortController()
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    for (let count = 0; !enough.signal.aborted; count += 1) {
      const id =
        count % 5 === 0 ? `new-${writer}-${count}` : `thing-${String(((count * 7 + writer) % 60) + 1).padStart(4, '0')}`
      await schema.postgres.run(
        'insert into things values ($1, 1) on conflict (id) do update set version = things.version + 1',
        [id],
      )
      await schema.postgres.transaction(({ tx }) => snapshots.project(tx, 'thing', [id]))
    }
  })
  for (let round = 0; round < 5; round += 1) {
    if (round % 2 === 0) await raw.send('FLUSHALL', [])
    await snapshots.rebuild()
  }
  enough.abort()
  await Promise.all(writers)
  await expectAsTables(snapshots)
})

test('a flush in the middle of a rebuild leaves no marker behind it', async () => {
  await insert(30)
  let pages = 0
  const snapshots = open({
    page: async (tx, after, limit) => {
      pages += 1
      if (pages === 3) await raw.send('FLUSHALL', [])
      return things.page(tx, after, limit)
    },
  })
  await snapshots.rebuild()
  // Five pages of seven and less; the third found Redis empty, so everything was visited once more.
  expect(pages).toBeGreaterThanOrEqual(8)
  await expectAsTables(snapshots)
})

test('a flush at the very end of a rebuild leaves no marker behind it', async () => {
  await insert(3)
  const snapshots = open({
    flags: async () => {
      await raw.send('FLUSHALL', [])
      return []
    },
  })
  expect(await outcomeOf(snapshots, 'thing-0001')).toBe('unavailable')
  await snapshots.stop()
  expect(await raw.send('EXISTS', ['orders:snapshots:complete'])).toBe(0)
})

test('of two processes that rebuild at once one works at a time, and both end complete', async () => {
  await insert(40)
  let [inside, most] = [0, 0]
  const page: SnapshotSource['page'] = async (tx, after, limit) => {
    inside += 1
    most = Math.max(most, inside)
    try {
      return await things.page(tx, after, limit)
    } finally {
      inside -= 1
    }
  }
  const both = [open({ page }), open({ page })]
  expect(await Promise.all(both.map((snapshots) => snapshots.rebuild()))).toEqual([40, 40])
  expect(most).toBe(1)
  for (const snapshots of both) await expectAsTables(snapshots)
})

test('a rebuild that fails half-way can be begun again at once', async () => {
  await insert(30)
  let failures = 1
  const snapshots = open({
    page: (tx, after, limit) => {
      if (after !== undefined && failures-- > 0) throw new Error('on purpose')
      return things.page(tx, after, limit)
    },
  })
  expect(await messageThrownBy(snapshots.rebuild())).toContain('on purpose')
  await eventually(async () => expect(await raw.send('EXISTS', ['orders:snapshots:rebuild'])).toBe(0), 5_000)
  expect(await snapshots.rebuild()).toBe(30)
})

test('a Redis that is frozen fails calls as unavailable instead of hanging, and serves again afterwards', async () => {
  await insert(5)
  const snapshots = open()
  await snapshots.rebuild()
  server.signal('SIGSTOP')
  try {
    const outcomes = await Promise.all([
      outcomeOf(snapshots, 'thing-0001'),
      snapshots.write('thing', [{ id: 'thing-0001', version: 2 }]).catch((error: unknown) => error),
      redis.inspect().catch((error: unknown) => error),
      redis.set('key', 'value').catch((error: unknown) => error),
    ])
    expect(outcomes[0]).toBe('unavailable')
    for (const outcome of outcomes.slice(1)) expect(outcome).toBeInstanceOf(UnavailableError)
  } finally {
    server.signal('SIGCONT')
  }
  await eventually(async () => expect(await outcomeOf(snapshots, 'thing-0005')).toBe(1))
})

test('a Redis that is away fails calls as unavailable, and is found again when it is back', async () => {
  await insert(5)
  const snapshots = open()
  await snapshots.rebuild()
  await server.end('SIGKILL')
  expect(await outcomeOf(snapshots, 'thing-0001')).toBe('unavailable')
  expect(await thrownBy(redis.connected(1))).toBeInstanceOf(UnavailableError)
  await server.start()
  await eventually(async () => expect(await outcomeOf(snapshots, 'thing-0005')).toBe(1))
})

test('what the tables no longer have is let go of, and what they still have stays', async () => {
  await insert(3)
  const snapshots = open()
  await snapshots.rebuild()
  await schema.owner.run(`delete from orders.things where id <> 'thing-0001'`)
  const ids = ['thing-0001', 'thing-0002']
  await schema.postgres.transaction(({ tx }) => snapshots.forget(tx, ids))
  expect(await Promise.all(ids.map((id) => outcomeOf(snapshots, id)))).toEqual([1, 'not found'])
  expect(await snapshots.differences()).toEqual(['thing thing-0003 is in Redis and not in the tables'])
})
