import { afterAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { redis as service } from '../../scripts/services/redis.ts'
import { testSchema } from '../test/database.ts'
import { silent } from '../test/messaging.ts'
import { ownServer } from '../test/own-server.ts'
import type { Tx } from './postgres.ts'
import { openRedis } from './redis.ts'
import { type SnapshotSource, createSnapshots } from './snapshots.ts'

setDefaultTimeout(60_000)

const schema = await testSchema(
  'create table things (id int not null, owner text not null, constraint things_pkey primary key (id))',
)
const server = await ownServer(service, 'differences')
const redis = openRedis({ url: server.url, name: 'test', log: silent })
const raw = new Bun.RedisClient(server.url)
await redis.connected(5_000)

type Thing = { id: string; owner: string; version: number }

const query = async (tx: Tx, condition: ReturnType<typeof sql>): Promise<Thing[]> => {
  const rows = await tx.execute(sql`select id::text, owner from things where ${condition}`)
  return (rows as unknown as [string, string][]).map(([id, owner]) => ({ id, owner, version: 1 }))
}

const things: SnapshotSource<Thing> = {
  thing: 'thing',
  load: (tx, ids) => query(tx, sql`id = any (${`{${ids.join(',')}}`}::int[])`),
  page: (tx, after, limit) => query(tx, sql`id > ${Number(after ?? 0)} order by things.id limit ${limit}`),
  lists: ({ owner }) => [`things-of:${owner}`],
  passingLists: ({ id }) => [{ list: 'high', member: Number(id) > 38 }],
}

const other: SnapshotSource = {
  ...things,
  thing: 'other',
  page: () => Promise.resolve([]),
  lists: () => ['others'],
  passingLists: () => [],
}

const snapshots = createSnapshots({
  module: 'orders',
  redis,
  read: schema.postgres.read,
  sources: [other, things],
  log: silent,
  pageSize: 7,
})

beforeEach(async () => {
  await raw.send('FLUSHALL', [])
  await schema.owner.script(
    `truncate orders.things; insert into orders.things select n, 'owner-' || n % 2 from generate_series(1, 40) as n`,
  )
  await snapshots.rebuild()
})

afterAll(async () => {
  await snapshots.stop()
  redis.close()
  raw.close()
  await server.remove()
  await schema.close()
})

test('many pages without a difference have none', async () => {
  expect(await snapshots.differences()).toEqual([])
})

test('a difference is found on any page, and only there', async () => {
  await raw.send('DEL', ['orders:thing:1', 'orders:thing:40'])
  await raw.send('SET', ['orders:thing:20', '{"id":"20","owner":"owner-1","version":1}'])
  await raw.send('ZREM', ['orders:things-of:owner-0', '2', '38'])
  expect((await snapshots.differences()).toSorted()).toEqual([
    'thing 1 is not in Redis',
    'thing 2 is not in the list orders:things-of:owner-0',
    'thing 20 has version 1 in Redis and 1 in the tables; what differs: owner',
    'thing 38 is not in the list orders:things-of:owner-0',
    'thing 40 is not in Redis',
  ])
})

test('what is beyond the tables is found, whatever it looks like', async () => {
  await raw.send('MSET', ['orders:thing:41', '{"version":1}', 'orders:thing:no number', '{}', 'orders:other', 'x'])
  await raw.send('ZADD', ['orders:things-of:owner-1', '0', '2', '0', 'no number'])
  await raw.send('ZADD', ['orders:things-of:nobody', '0', '3'])
  expect((await snapshots.differences()).toSorted()).toEqual([
    'the list orders:things-of:nobody has 3, which does not belong to it',
    'the list orders:things-of:owner-1 has 2, which does not belong to it',
    'the list orders:things-of:owner-1 has no number, which does not belong to it',
    'thing 41 is in Redis and not in the tables',
    'thing no number is in Redis and not in the tables',
  ])
})

test('a list that things leave again is compared with what they are now', async () => {
  await raw.send('ZREM', ['orders:high', '39'])
  await raw.send('ZADD', ['orders:high', '0', '38'])
  expect((await snapshots.differences()).toSorted()).toEqual([
    'the list orders:high has 38, which does not belong to it',
    'thing 39 is not in the list orders:high',
  ])
  await snapshots.rebuild()
  expect(await snapshots.differences()).toEqual([])
})

test('of very many differences a hundred are told', async () => {
  await schema.owner.script(`insert into orders.things select n, 'late' from generate_series(41, 300) as n`)
  expect(await snapshots.differences()).toHaveLength(100)
})
