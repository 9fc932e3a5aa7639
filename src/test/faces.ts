import type { Context as UsersContext } from '#modules/users'
import * as orders from '#events/orders'
import * as payments from '#events/payments'
import * as users from '#events/users'
import { addressesIn } from '#platform/addresses'
import type { Log } from '#platform/log'
import { messageTypesOf } from '#platform/messaging/catalogue'
import type { Snapshots } from '#platform/snapshots'
import { createNews } from '#platform/news'
import { type BffOptions, createBff } from '../bff/bff.ts'
import { createStreams } from '../bff/graphql/streams.ts'
import { createTokens } from '../bff/identity.ts'

/** What no client may see of a fault. */
export const secret = 'column "password_hash" of relation users.users'

const silentNews = createNews({ subscribe: () => ({ standing: Promise.resolve(), end: () => undefined }) })

type Logged = { fields: unknown; message: string }

/**
 * The faces on modules that are not there: every command fails with `commandError` once `hash` has answered, and every read
 * with `readError`.
 */
export const createFaces = async (
  readError: Error = new Error(secret),
  options: { commandError?: Error; hash?: () => Promise<string> } & Partial<BffOptions> = {},
) => {
  const { commandError, hash = () => Promise.resolve('hash'), maxRequestsInFlight = 1_000, ...faces } = options
  const logged: Logged[] = []
  const note = (fields: unknown, message = '') => void logged.push({ fields, message })
  const log = { debug: note, info: note, warn: note, error: note, fatal: note } as unknown as Log
  const refuse = () => Promise.reject(readError)
  const snapshots = { read: refuse, readAll: refuse, has: () => true } as unknown as Snapshots
  const context = {
    transact: () => Promise.reject(commandError ?? new Error(secret)),
    passwords: { hash },
    snapshots,
  } as unknown as UsersContext
  const hosted = <Name extends string>(name: Name) => ({
    name,
    snapshots,
    deadLetters: {} as never,
    sagas: {} as never,
    flow: () => Promise.reject(new Error(secret)),
    findAnswer: () => Promise.resolve(undefined),
    keepRefusal: () => Promise.resolve(),
  })
  const tokens = createTokens({ keys: [{ kid: 'k', secret: 'a secret of at least thirty-two bytes' }], ttlSeconds: 60 })
  const bff = createBff({
    modules: {
      users: { ...hosted('users'), context: () => context },
      orders: { ...hosted('orders'), context: () => context as never },
      payments: { ...hosted('payments'), context: () => context as never },
    },
    elsewhere: [],
    tokens,
    log,
    messages: messageTypesOf(users, orders, payments),
    scrape: () => Promise.resolve('# nothing'),
    notReady: () => Promise.resolve(['users: Postgres does not answer']),
    maxRequestsInFlight,
    requestTimeoutMs: 20_000,
    limits: { registration: () => Promise.resolve(), signIn: () => Promise.resolve() },
    proxies: addressesIn([]),
    corsOrigins: [],
    stopping: new AbortController().signal,
    news: silentNews,
    development: false,
    introspection: true,
    storedDocumentsOnly: false,
    streams: createStreams(silentNews, { maxStreams: 10, maxStreamsPerUser: 10 }),
    ...faces,
  })
  const userId = '0198c0de-0000-7000-8000-000000000001'
  const { token } = await tokens.issue({ userId, role: 'customer' })
  const post = (path: string, body: unknown) =>
    bff.request(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'correlation-id': 'story-9' },
      body: JSON.stringify(body),
    })
  return { bff, post, logged, userId, authorization: `Bearer ${token}` }
}
