import { join } from 'node:path'
import { type Bff, createBff } from './bff/bff.ts'
import { createStreams } from './bff/graphql/streams.ts'
import { createTokens } from './bff/identity.ts'
import { createLimits } from './bff/limits.ts'
import { type Config, type ModuleName, brokerSettings, moduleNames } from './config.ts'
import * as orderMessages from '#events/orders'
import * as paymentMessages from '#events/payments'
import * as userMessages from '#events/users'
import { createCheckouts, orders, ordersSnapshots } from '#modules/orders'
import { payments, paymentsSnapshots } from '#modules/payments'
import { users } from '#modules/users'
import { addressesIn } from '#platform/addresses'
import { StartError, messageOf } from '#platform/errors'
import { createFailureLimit } from '#platform/failure-limit'
import { createHints } from '#platform/hints'
import { stopServer } from '#platform/lifecycle'
import type { Log } from '#platform/log'
import { messageTypesOf } from '#platform/messaging/catalogue'
import { openBroker } from '#platform/messaging/kafka'
import type { Trace } from '#platform/messaging/message'
import type { Keep } from '#platform/messaging/outbox'
import { type Accused, createTrial } from '#platform/messaging/trial'
import { hostModule } from '#platform/module'
import { moduleElsewhere } from '#platform/module-elsewhere'
import { createNews } from '#platform/news'
import { createOutgoing } from '#platform/outgoing'
import { createPasswords } from '#platform/passwords'
import { type Postgres, openPostgres } from '#platform/postgres'
import { openRedis } from '#platform/redis'
import type { SnapshotSource } from '#platform/snapshots'
import { createScrape } from '#platform/scrape'

/** The process with the modules that it hosts, wired and not yet started. */
export const createApp = (config: Config, log: Log) => {
  const owner = Bun.randomUUIDv7()
  const stopping = new AbortController()
  const redis = openRedis({ url: config.REDIS_URL, name: 'bulkhead', log, ca: config.TLS_CA_FILE })
  const brokerOf = (module?: ModuleName) =>
    openBroker({
      ...brokerSettings(config, module),
      clientId: module ? `bulkhead-${module}` : 'bulkhead',
      log,
      sessionTimeoutMs: config.KAFKA_SESSION_TIMEOUT_MS,
    })
  const brokers = { users: brokerOf('users'), orders: brokerOf('orders'), payments: brokerOf('payments') }
  const databases = openDatabases(config, log)

  const now = () => new Date()
  const newId = () => Bun.randomUUIDv7()
  const provider =
    config.PAYMENT_PROVIDER_URL === undefined
      ? undefined
      : createOutgoing({
          baseUrl: config.PAYMENT_PROVIDER_URL,
          name: 'the payment provider',
          log,
          timeoutMs: 5_000,
        })
  const hints = createHints(redis)
  const retention = {
    inboxMs: config.INBOX_RETENTION_MS,
    answersMs: config.ANSWER_RETENTION_MS,
    endedMs: config.ENDED_RETENTION_MS,
  }
  const shared = {
    redis,
    log,
    owner,
    relayLeaseMs: config.RELAY_LEASE_MS,
    outboxMaxAgeMs: config.OUTBOX_MAX_AGE_MS,
    retention,
    hints,
    trial: createTrial({ command: [process.execPath, join(import.meta.dir, 'trial.ts')] }),
  }
  const checkouts = createCheckouts({ flowDeadlineMs: config.FLOW_DEADLINE_MS, now })
  const hosted = {
    ...(databases.users && {
      users: hostModule({ definition: users, postgres: databases.users, broker: brokers.users, ...shared }),
    }),
    ...(databases.orders && {
      orders: hostModule({
        definition: orders({ log, now, checkouts }),
        postgres: databases.orders,
        broker: brokers.orders,
        ...shared,
      }),
    }),
    ...(databases.payments &&
      provider && {
        payments: hostModule({
          definition: payments({ provider, newId, now }),
          postgres: databases.payments,
          broker: brokers.payments,
          ...shared,
        }),
      }),
  }
  const modules = Object.values(hosted)
  const elsewhere = moduleNames
    .filter((name) => !hosted[name])
    .map((name) => ({ name, address: addressOf(name, config), timeoutMs: config.FORWARD_TIMEOUT_MS }))
  const seenFromHere = <Name extends ModuleName>(name: Name, sources: SnapshotSource[]) =>
    moduleElsewhere({ name, redis, sources, reachable: addressOf(name, config) !== undefined })

  const usersParts = {
    passwords: createPasswords(),
    signInFailures: createFailureLimit({
      redis,
      prefix: 'users:sign-in-failures',
      max: config.SIGN_IN_FAILURES,
      windowMs: 15 * 60_000,
    }),
  }
  const ordersParts = { flowDeadlineMs: config.FLOW_DEADLINE_MS, checkouts }
  const notReady = async () => {
    const found = await Promise.all(modules.map((module) => module.notReady()))
    const policy = redis.server()?.evictionPolicy ?? 'unknown: Redis does not answer'
    return [
      ...(policy === 'noeviction' ? [] : [`Redis: maxmemory-policy is ${policy}, it must be noeviction`]),
      ...found.flat(),
    ]
  }
  const userSide = hosted.users ?? seenFromHere('users', users.snapshots)
  const orderSide = hosted.orders ?? seenFromHere('orders', ordersSnapshots(checkouts))
  const faces = {
    users: {
      ...userSide,
      context: (trace: Trace, keep?: Keep) => Object.assign(userSide.context(trace, keep), usersParts),
    },
    orders: {
      ...orderSide,
      context: (trace: Trace, keep?: Keep) => Object.assign(orderSide.context(trace, keep), ordersParts),
    },
    payments: hosted.payments ?? seenFromHere('payments', paymentsSnapshots),
  }
  const news = createNews(redis)
  const streams = createStreams(news, {
    maxStreams: config.MAX_STREAMS,
    maxStreamsPerUser: config.MAX_STREAMS_PER_USER,
  })
  const scrape = createScrape({
    modules,
    pools: Object.entries(databases).map(([module, { load }]) => ({ module, load })),
    redis,
    lags: (name, consumers) => brokers[name].lags(consumers),
    log,
  })
  const bff = createBff({
    modules: faces,
    elsewhere,
    tokens: createTokens({ keys: config.JWT_KEYS, ttlSeconds: config.TOKEN_TTL_SECONDS }),
    log,
    notReady,
    messages: messageTypesOf(userMessages, orderMessages, paymentMessages),
    scrape,
    maxRequestsInFlight: config.MAX_REQUESTS_IN_FLIGHT,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    limits: createLimits(redis, {
      registrations: config.REGISTRATIONS_PER_ADDRESS,
      signIns: config.SIGN_INS_PER_ADDRESS,
    }),
    proxies: addressesIn(config.TRUSTED_PROXIES),
    corsOrigins: config.CORS_ORIGINS,
    stopping: stopping.signal,
    news,
    development: config.NODE_ENV === 'development',
    introspection: config.NODE_ENV !== 'production',
    storedDocumentsOnly: config.STORED_DOCUMENTS_ONLY,
    streams,
  })

  return {
    hosted,
    databases,
    redis,
    /** By no module's name: for who looks at all of them. */
    broker: brokerOf(),
    provider,
    /** The modules with the whole context that their commands and queries take. */
    faces,
    bff,
    streams,
    notReady,
    /** Resolves when Redis answers; the databases and the broker are reached when they are first needed. */
    connected: () => redis.connected(5_000),
    /** What must hold before anything is served. @throws StartError saying what to do */
    check: () => Promise.all([redis.signIn(), ...modules.map((module) => module.check())]),
    /** Handles one message and nothing else. @throws what its handler throws */
    attempt: async ({ consumer, record, position }: Accused) => {
      const found = modules.flatMap((module) => module.consumers).find(({ name }) => name === consumer)
      if (!found) throw new StartError(`No module that is hosted here has the consumer ${consumer}.`)
      await found.attempt(record, position)
    },
    start: () => Promise.all(modules.map((module) => module.start())),
    /** Serves until `stop`; the port is the server's own when 0 was asked for. @throws StartError when it is taken */
    serve: () => serve(config, bff.fetch),
    /** Takes no more requests, answers those that only wait, ends the subscriptions, and waits a while for what is in hand. */
    stopServing: (server: Bun.Server<unknown>) => {
      stopping.abort()
      return stopServer(server, { end: streams.end, withinMs: 5_000 })
    },
    stop: async () => {
      await Promise.allSettled(modules.map((module) => module.stop()))
      await Promise.allSettled(Object.values(databases).map((database) => database.close()))
      redis.close()
    },
  }
}

/** A pool for each module that is hosted here, by its own role. */
const openDatabases = (config: Config, log: Log): Partial<Record<ModuleName, Postgres>> => {
  const urls = {
    users: config.USERS_DATABASE_URL,
    orders: config.ORDERS_DATABASE_URL,
    payments: config.PAYMENTS_DATABASE_URL,
  }
  const databases: Partial<Record<ModuleName, Postgres>> = {}
  for (const name of config.MODULES) {
    databases[name] = openPostgres({
      url: urls[name] ?? '',
      name: `bulkhead-${name}`,
      poolSize: config.DATABASE_POOL_SIZE,
      log,
      ca: config.TLS_CA_FILE,
    })
  }
  return databases
}

/** Where a module that is hosted elsewhere answers, if that is known. */
const addressOf = (name: ModuleName, config: Config): string | undefined => {
  const urls = { users: config.USERS_URL, orders: config.ORDERS_URL, payments: config.PAYMENTS_URL }
  return urls[name]?.replace(/\/+$/, '')
}

const serve = ({ PORT, HOST, REQUEST_TIMEOUT_MS }: Config, fetch: Bff['fetch']) => {
  try {
    // The BFF reads no further than its own limit and answers with a problem; the server's own answer would have no body.
    return Bun.serve({
      port: PORT,
      hostname: HOST,
      fetch,
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      // Nothing moves on a connection while its request is worked on.
      idleTimeout: Math.min(255, Math.ceil(REQUEST_TIMEOUT_MS / 1_000) + 10),
    })
  } catch (error) {
    throw new StartError(`PORT ${PORT} cannot be served on ${HOST}: ${messageOf(error)}`, { cause: error })
  }
}

export type App = ReturnType<typeof createApp>

/** The app with every module in it, for what looks at the whole business. @throws StartError when `MODULES` leaves one out */
export const withAllModules = (app: App) => {
  const { hosted, databases, provider } = app
  const { users, orders, payments } = hosted
  if (!users || !orders || !payments || !provider)
    throw new StartError('This needs every module, each with its database and the payment provider: leave MODULES out.')
  return {
    ...app,
    hosted: { users, orders, payments },
    databases: databases as Required<typeof databases>,
    provider,
  }
}

export type WholeApp = ReturnType<typeof withAllModules>
