import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { redis as service } from '../../scripts/services/redis.ts'
import { eventually } from '../test/eventually.ts'
import { silent } from '../test/messaging.ts'
import { ownServer } from '../test/own-server.ts'
import { thrownBy } from '../test/thrown.ts'
import { UnavailableError } from './errors.ts'
import { counted } from './metrics.ts'
import { openRedis } from './redis.ts'

setDefaultTimeout(60_000)

const server = await ownServer(service, 'redis')
const redis = openRedis({ url: server.url, name: 'test', log: silent })

beforeEach(() => redis.connected(10_000))

afterAll(async () => {
  redis.close()
  await server.remove()
})

const calls: [what: string, call: () => Promise<unknown>][] = [
  ['a read', () => redis.get(['a'])],
  ['a write', () => redis.set('a', '1')],
  ['flags', () => redis.setAll([{ key: 'a', value: '1', ttlMs: 60_000 }])],
  ['places in lists', () => redis.addToLists([{ key: 'a-list', id: 'a' }])],
  ['a look into lists', () => redis.inLists([{ key: 'a-list', id: 'a' }])],
]

/** How many a series has counted. */
const countOf = async (series: string): Promise<number> => {
  const line = (await counted.metrics()).split('\n').find((each) => each.startsWith(`${series} `))
  return Number(line?.slice(series.length + 1) ?? 0)
}

const tripsOf = (operation: string) =>
  countOf(`bulkhead_redis_round_trip_duration_seconds_count{operation="${operation}"}`)

const failuresOf = (operation: string, reason: string) =>
  countOf(`bulkhead_redis_failures_total{operation="${operation}",reason="${reason}"}`)

describe('a Redis that hangs', () => {
  for (const [what, call] of calls) {
    test(`fails ${what}`, async () => {
      server.signal('SIGSTOP')
      const error = await thrownBy(call()).finally(() => server.signal('SIGCONT'))
      expect(error).toBeInstanceOf(UnavailableError)
    })
  }
})

test('what is wrong with a command is a fault, in a pipeline too', async () => {
  await redis.set('no-list', '1')
  const error = await thrownBy(redis.addToLists([{ key: 'no-list', id: 'a' }]))
  expect(error).toMatchObject({ name: 'ReplyError', message: expect.stringContaining('WRONGTYPE') })
})

test('reads of one tick are one round trip, however many keys they ask for', async () => {
  const before = await tripsOf('get')
  await Promise.all([redis.get(['a', 'b']), redis.get(['c', 'd', 'e'])])
  expect((await tripsOf('get')) - before).toBe(1)
})

test('what fails is counted by what was asked and why, and is no round trip', async () => {
  const seen = async () => ({
    trips: await tripsOf('delete'),
    timeout: await failuresOf('delete', 'timeout'),
    away: await failuresOf('delete', 'away'),
    refused: await failuresOf('lists', 'refused'),
  })
  const before = await seen()
  server.signal('SIGSTOP')
  await thrownBy(redis.delete(['a'])).finally(() => server.signal('SIGCONT'))
  await server.end('SIGKILL')
  await eventually(() => expect(redis.connections().commands).toBe(false))
  await thrownBy(redis.delete(['a']))
  await server.start()
  await redis.connected(10_000)
  await redis.delete(['a'])
  await redis.set('no-list', '1')
  await thrownBy(redis.addToLists([{ key: 'no-list', id: 'a' }]))
  const { trips, timeout, away, refused } = before
  expect(await seen()).toEqual({ trips: trips + 1, timeout: timeout + 1, away: away + 1, refused: refused + 1 })
})

test('it tells which of its connections stand', async () => {
  const other = openRedis({ url: server.url, name: 'other', log: silent })
  await other.connected(10_000)
  expect(other.connections()).toEqual({ commands: true, channels: false })
  other.subscribe('channel', { heard: () => undefined })
  await eventually(() => expect(other.connections()).toEqual({ commands: true, channels: true }))
  other.close()
  await eventually(() => expect(other.connections()).toEqual({ commands: false, channels: false }))
})
