import { Redis } from 'ioredis'
import { type Channels, type Listener, type Subscription, createChannels } from './channels.ts'
import { type Step, durable } from './durable.ts'
import { StartError, UnavailableError, certificateFault } from './errors.ts'
import type { Log } from './log.ts'
import { type Operation, allOf, answered } from './redis-answer.ts'
import { sleep } from './retry.ts'
import { type Trusted, verified } from './tls.ts'

export type RedisClient = {
  /** The values of the keys, null where there is none; all calls of one tick share one round trip. */
  get(keys: string[]): Promise<(string | null)[]>
  /**
   * Sets the keys whose stored JSON has no `version`, or none higher than given, together with their places in lists; returns
   * how many were set. An equal version is written again, so that a release which adds to a snapshot's shape reaches the
   * stored ones by a rebuild. A newer one is said on the channel that has the key's name.
   */
  setUnlessNewer(entries: VersionedValue[]): Promise<number>
  /** Sets each key for its own time, and says so on the channel that has its name; in one round trip. */
  setAll(entries: { key: string; value: string; ttlMs: number }[]): Promise<void>
  set(key: string, value: string, options?: { ttlMs?: number; onlyIfAbsent?: boolean }): Promise<boolean>
  /** Lets `key` live for another `ttlMs` if it still holds `value`; false when it does not. */
  extend(key: string, value: string, ttlMs: number): Promise<boolean>
  /** Sets `key` only if `guard` still holds `guardValue`, and deletes `guard`; false when it does not. */
  setIfGuarded(key: string, value: string, guard: string, guardValue: string): Promise<boolean>
  /** Counts one up; a counter that is new expires after `ttlMs`. Answers the count and when it expires. */
  increment(key: string, ttlMs: number): Promise<{ count: number; leftMs: number }>
  /** The milliseconds until the key expires; negative when it does not exist or never expires. */
  leftMs(key: string): Promise<number>
  /** Adds ids to sorted lists; one that is there already stays as it is. */
  addToLists(entries: { key: string; id: string }[]): Promise<void>
  /** Up to `limit` ids of a list in descending order, below `before`. */
  newestOfList(key: string, before: string | undefined, limit: number): Promise<string[]>
  /** Which of the ids are in their lists. */
  inLists(entries: { key: string; id: string }[]): Promise<boolean[]>
  /** The keys that match a pattern, values or lists, in parts; one that is there all the time comes at least once. */
  keys(pattern: string, kind: 'values' | 'lists'): AsyncIterable<string[]>
  delete(keys: string[]): Promise<void>
  /** Says a word to whoever listens to the channel now. */
  publish(channel: string, word: string): Promise<void>
  /** Listens to a channel by a connection of its own, shared by all channels; what is said while it is away is not heard. */
  subscribe(channel: string, listener: Listener): Subscription
  /**
   * Resolves when the connection stands, or the first try to connect failed since Redis is away.
   * @throws StartError when it showed a certificate that is not trusted, or does not let us in
   */
  signIn(): Promise<void>
  /** Resolves when the connection stands. @throws UnavailableError after `timeoutMs`; StartError as `signIn` */
  connected(timeoutMs: number): Promise<void>
  /** The server as this connection found it, read anew with each connection; undefined while not connected. */
  server(): RedisServer | undefined
  /** Which of its connections stand: the one for commands, and the one that hears channels if anybody has listened. */
  connections(): RedisConnections
  /** Asks the server about itself now. */
  inspect(): Promise<RedisServer>
  close(): void
}

export type RedisConnections = { commands: boolean; channels: boolean }

export type RedisServer = { runId: string; evictedKeys: number; evictionPolicy: string; maxMemory: number }

/** `places` are the lists that an id belongs to with this version and no longer does; they change with the value or not at all. */
export type VersionedValue = {
  key: string
  version: number
  value: string
  places?: { list: string; id: string; member: boolean }[]
}

const setUnlessNewerScript = `
local set, count = {}, tonumber(ARGV[1])
for i = 1, count do
  local key, given = KEYS[i], tonumber(ARGV[2 * i])
  local stored = redis.call('GET', key)
  local readable, decoded = pcall(cjson.decode, stored or '')
  local version = readable and type(decoded) == 'table' and tonumber(decoded.version)
  if not version or version <= given then
    redis.call('SET', key, ARGV[2 * i + 1])
    table.insert(set, i)
    set[key] = true
    if version ~= given then redis.call('PUBLISH', key, given) end
  end
end
for i = count + 1, #KEYS do
  local at = 2 * count + 2 + 3 * (i - count - 1)
  if set[ARGV[at]] then
    if ARGV[at + 2] == '1' then redis.call('ZADD', KEYS[i], 0, ARGV[at + 1]) else redis.call('ZREM', KEYS[i], ARGV[at + 1]) end
  end
end
return #set`

const setIfGuardedScript = `
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return 1`

const extendScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`

const incrementScript = `
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}`

type Scripted = Redis & {
  setUnlessNewer(keyCount: number, ...keysAndValues: (string | number)[]): Promise<number>
  setIfGuarded(key: string, guard: string, value: string, guardValue: string): Promise<number>
  extendHeld(key: string, value: string, ttlMs: number): Promise<number>
  incrementExpiring(key: string, ttlMs: number): Promise<[count: number, leftMs: number]>
}

type RedisOptions = { url: string; name: string; log: Log } & Trusted

const firstTryMs = 3_000

const tlsOf = ({ url, ca }: RedisOptions) => (url.startsWith('rediss:') ? { tls: verified({ ca }) } : {})

/** Why Redis will not have us, however often we ask; undefined when it is merely away. */
const refusalOf = (error: Error, url: string): string | undefined => {
  const { host } = new URL(url)
  const fault = certificateFault(error)
  if (fault !== undefined) return `The Redis at ${host} is not trusted: its certificate ${fault}.`
  if (/^(WRONGPASS|NOAUTH)/.test(error.message))
    return `The Redis at ${host} does not let us in by the user and password of its URL: ${error.message}`
  return undefined
}

/**
 * Connects to Redis, encrypted when the URL begins with `rediss:`. A call fails with `UnavailableError` within 200 ms when Redis is away or frozen, and the connection
 * comes back by itself.
 */
export const openRedis = (options: RedisOptions): RedisClient => {
  const { url, name, log } = options
  const redis = new Redis(url, {
    ...tlsOf(options),
    connectionName: name,
    enableOfflineQueue: false,
    commandTimeout: 200,
    connectTimeout: 2_000,
    maxRetriesPerRequest: 1,
    socketTimeout: 1_000,
    retryStrategy: (times) => Math.min(50 * times, 500),
    scripts: {
      setUnlessNewer: { lua: setUnlessNewerScript },
      setIfGuarded: { lua: setIfGuardedScript, numberOfKeys: 2 },
      extendHeld: { lua: extendScript, numberOfKeys: 1 },
      incrementExpiring: { lua: incrementScript, numberOfKeys: 1 },
    },
  }) as Scripted
  let server: RedisServer | undefined
  let receiver: Redis | undefined
  const channels = createChannels(() => (receiver ??= openReceiver(options, channels)))
  let reported = ''
  let refusal: string | undefined
  const tried = Promise.withResolvers<void>()

  const stands = () => server !== undefined
  const inspect = async () => parseInfo(await answered('info', redis.info()))

  redis.on('ready', () => {
    reported = ''
    inspect().then(
      (found) => {
        server = found
        refusal = undefined
        tried.resolve()
      },
      () => redis.disconnect(true),
    )
  })
  redis.on('close', () => {
    server = undefined
  })
  redis.on('error', (error: Error) => {
    refusal = refusalOf(error, url)
    tried.resolve()
    if (error.message === reported) return
    reported = error.message
    log.warn({ error: error.message }, 'redis does not answer')
  })

  return {
    get: createGet((keys) => answered('get', redis.mget(keys))),
    setUnlessNewer: async (entries) => {
      if (entries.length === 0) return 0
      const places = entries.flatMap(({ key, places = [] }) => places.map((place) => ({ key, ...place })))
      const keys = [...entries.map(({ key }) => key), ...places.map(({ list }) => list)]
      const values = entries.flatMap(({ version, value }) => [version, value])
      const moves = places.flatMap(({ key, id, member }) => [key, id, member ? 1 : 0])
      return write('redis.snapshots', () =>
        redis.setUnlessNewer(keys.length, ...keys, entries.length, ...values, ...moves),
      )
    },
    setAll: async (entries) => {
      if (entries.length === 0) return
      const pipeline = redis.pipeline()
      for (const { key, value, ttlMs } of entries) pipeline.set(key, value, 'PX', ttlMs).publish(key, value)
      await write('redis.flags', () => allOf(pipeline))
    },
    set: async (key, value, { ttlMs, onlyIfAbsent } = {}) => {
      const options = [...(ttlMs === undefined ? [] : ['PX', ttlMs]), ...(onlyIfAbsent ? ['NX'] : [])]
      return (await write('redis.set', () => redis.call('SET', key, value, ...options))) === 'OK'
    },
    extend: async (key, value, ttlMs) => (await write('redis.extend', () => redis.extendHeld(key, value, ttlMs))) === 1,
    setIfGuarded: async (key, value, guard, guardValue) =>
      (await write('redis.mark', () => redis.setIfGuarded(key, guard, value, guardValue))) === 1,
    increment: async (key, ttlMs) => {
      const [count, leftMs] = await write('redis.count', () => redis.incrementExpiring(key, ttlMs))
      return { count, leftMs }
    },
    leftMs: (key) => answered('expiry', redis.pttl(key)),
    addToLists: async (entries) => {
      if (entries.length === 0) return
      const lists = Map.groupBy(entries, ({ key }) => key)
      const pipeline = redis.pipeline()
      for (const [key, members] of lists) pipeline.zadd(key, ...members.flatMap(({ id }) => [0, id]))
      await write('redis.lists', () => allOf(pipeline))
    },
    newestOfList: (key, before, limit) =>
      answered(
        'newest',
        redis.zrange(key, before === undefined ? '+' : `(${before}`, '-', 'BYLEX', 'REV', 'LIMIT', 0, limit),
      ),
    inLists: async (entries) => {
      if (entries.length === 0) return []
      const reads = redis.pipeline()
      for (const { key, id } of entries) reads.zscore(key, id)
      return (await answered('members', allOf(reads))).map((score) => typeof score === 'string')
    },
    keys: async function* (pattern, kind) {
      const type = kind === 'lists' ? 'zset' : 'string'
      let cursor = '0'
      do {
        const [next, keys] = await answered('scan', redis.scan(cursor, 'MATCH', pattern, 'COUNT', 1_000, 'TYPE', type))
        cursor = next
        if (keys.length > 0) yield keys
      } while (cursor !== '0')
    },
    delete: async (keys) => {
      if (keys.length > 0) await write('redis.delete', () => redis.del(keys))
    },
    signIn: async () => {
      await Promise.race([tried.promise, sleep(firstTryMs)])
      if (refusal !== undefined) throw new StartError(refusal)
    },
    connected: async (timeoutMs) => {
      const deadline = performance.now() + timeoutMs
      while (!stands()) {
        if (refusal !== undefined) throw new StartError(refusal)
        if (performance.now() > deadline) throw new UnavailableError(`Redis at ${new URL(url).host} does not answer.`)
        await sleep(20)
      }
    },
    server: () => server,
    connections: () => ({ commands: stands(), channels: receiver?.status === 'ready' }),
    inspect: async () => (server = await inspect()),
    publish: async (channel, word) => {
      await answered('publish', redis.publish(channel, word))
    },
    subscribe: channels.listen,
    close: () => {
      redis.disconnect()
      receiver?.disconnect()
    },
  }
}

/** Not with a socketTimeout: a channel may be silent for long. */
const openReceiver = (options: RedisOptions, channels: Pick<Channels, 'say' | 'stand'>): Redis => {
  const receiver = new Redis(options.url, {
    ...tlsOf(options),
    connectionName: `${options.name}-channels`,
    connectTimeout: 2_000,
    maxRetriesPerRequest: null,
    retryStrategy: (times) => Math.min(100 * times, 1_000),
    // Done by the channels, which have to know when it is done.
    autoResubscribe: false,
  })
  // The other connection reports that Redis is away.
  receiver.on('error', () => undefined)
  receiver.on('ready', channels.stand)
  receiver.on('message', channels.say)
  return receiver
}

type RedisStep = Extract<Step, `redis.${Operation}`>

const write = <T>(step: RedisStep, command: () => Promise<T>): Promise<T> =>
  answered(operationOf(step), durable(step, command))

const operationOf = (step: RedisStep) => step.slice('redis.'.length) as Operation

type Get = RedisClient['get']

/** Collects what is asked for in one tick into one command; a key that several callers want is asked for once. */
const createGet = (getAll: Get): Get => {
  let wanted = new Map<string, number>()
  let fetching: Promise<(string | null)[]> | undefined
  const flush = async () => {
    await new Promise((resolve) => setImmediate(resolve))
    const keys = [...wanted.keys()]
    wanted = new Map()
    fetching = undefined
    return getAll(keys)
  }
  const placeOf = (key: string): number => {
    const known = wanted.get(key)
    if (known !== undefined) return known
    wanted.set(key, wanted.size)
    return wanted.size - 1
  }
  return (keys) => {
    if (keys.length === 0) return Promise.resolve([])
    fetching ??= flush()
    const places = keys.map(placeOf)
    return fetching.then((values) => places.map((place) => values[place] ?? null))
  }
}

const parseInfo = (info: string): RedisServer => {
  const fields = new Map(info.split('\r\n').map((line) => line.split(':', 2) as [string, string]))
  const runId = fields.get('run_id')
  if (!runId) throw new Error('Redis answers INFO without a run_id.')
  return {
    runId,
    evictedKeys: Number(fields.get('evicted_keys') ?? 0),
    evictionPolicy: fields.get('maxmemory_policy') ?? 'noeviction',
    maxMemory: Number(fields.get('maxmemory') ?? 0),
  }
}
