import { createApp } from '../app.ts'
import { type Environment, parseConfig, parseMigrateConfig } from '../config.ts'
import { migrate } from '../../scripts/migrate.ts'
import { seed } from '../../scripts/seed.ts'
import { createLog } from '#platform/log'
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

/** The whole process, in this one: real services, a port of its own, the seeded products. */
export const startTestApp = async (overrides: Environment = {}) => {
  const environment: Environment = {
    ...(await testEnvironment()),
    PORT: '0',
    HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    ...overrides,
  }
  const config = parseConfig(environment)
  const app = createApp(config, createLog({ level: config.LOG_LEVEL, readable: false }))
  await app.check()
  const id = Bun.randomUUIDv7()
  await seed(app.faces.orders.context({ correlationId: id, causationId: id }))
  const server = app.serve()
  await app.start()
  return {
    app,
    environment,
    url: server.url.href.replace(/\/$/, ''),
    stop: async () => {
      await server.stop(true)
      await app.stop()
    },
  }
}
