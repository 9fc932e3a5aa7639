import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { redis as service } from '../../scripts/services/redis.ts'
import { silent } from '../test/messaging.ts'
import { ownServer } from '../test/own-server.ts'
import { thrownBy } from '../test/thrown.ts'
import { UnavailableError } from './errors.ts'
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
