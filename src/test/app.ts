import { type App, createApp } from '../app.ts'
import { type Environment, moduleNames, parseConfig, parseMigrateConfig } from '../config.ts'
import { migrate } from '../../scripts/migrate.ts'
import { seed } from '../../scripts/seed.ts'
import { createLog } from '#platform/log'
import { layoutOf } from './layout.ts'
import { testServices } from './services.ts'

let migrated: Promise<Environment> | undefined

/** The environment of the test services, with schemas, topics and the operator in place. */
export const testEnvironment = (): Promise<Environment> =>
  (migrated ??= (async () => {
    const environment: Environment = {
      ...process.env,
      ...(await testServices()),
      NODE_ENV: 'test',
      KAFKA_SESSION_TIMEOUT_MS: '2000',
    }
    await migrate(parseMigrateConfig(environment), () => undefined)
    return environment
  })())

/**
 * The whole system in this process: real services, ports of its own, the seeded products. A layout, as of
 * `TEST_LAYOUT=payments|users,orders`, spreads the modules over as many apps as it has parts, tied by HTTP; the first is the
 * one that tests speak to.
 */
export const startTestApp = async (overrides: Environment = {}, layout = process.env['TEST_LAYOUT']) => {
  const environment: Environment = {
    ...(await testEnvironment()),
    PORT: '0',
    HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    ...overrides,
  }
  const apps = (await layoutOf(environment, layout)).map((part) => {
    const config = parseConfig(part)
    return createApp(config, createLog({ level: config.LOG_LEVEL, readable: false }))
  })
  for (const app of apps) await app.check()
  const app = asOne(apps)
  const id = Bun.randomUUIDv7()
  await seed(app.faces.orders.context({ correlationId: id, causationId: id }))
  const servers = apps.map((each) => each.serve())
  await Promise.all(apps.map((each) => each.start()))
  const urls = servers.map(({ url }) => url.href.replace(/\/$/, ''))
  return {
    app,
    environment,
    url: urls[0] ?? '',
    /** Where each app answers, in the order of the layout. */
    urls,
    stop: async () => {
      await Promise.all(servers.map((server) => server.stop(true)))
      await Promise.all(apps.map((each) => each.stop()))
    },
  }
}

/** What the apps have together, each module as its host has it. */
const asOne = (apps: App[]) => {
  const hostOf = (name: (typeof moduleNames)[number]) => {
    const host = apps.find(({ hosted }) => hosted[name])
    if (!host) throw new Error(`No app of the test hosts ${name}.`)
    return host
  }
  const [first] = apps
  const hosts = { users: hostOf('users'), orders: hostOf('orders'), payments: hostOf('payments') }
  const { users, orders, payments } = Object.assign({}, ...apps.map(({ hosted }) => hosted)) as Required<App['hosted']>
  const { provider } = hosts.payments
  if (!first || !provider) throw new Error('The test has no app, or none with a payment provider.')
  return {
    ...first,
    hosted: { users, orders, payments },
    databases: Object.assign({}, ...apps.map(({ databases }) => databases)) as Required<App['databases']>,
    faces: {
      users: hosts.users.faces.users,
      orders: hosts.orders.faces.orders,
      payments: hosts.payments.faces.payments,
    },
    provider,
    notReady: async () => (await Promise.all(apps.map((app) => app.notReady()))).flat(),
  }
}
