import { expect } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Step } from '#platform/durable'
import type { OutgoingRecord } from '#platform/messaging/kafka'
import { openPostgres } from '#platform/postgres'
import { broker } from '../../../scripts/services/broker.ts'
import { redis } from '../../../scripts/services/redis.ts'
import { examine } from '../../../scripts/invariants/examine.ts'
import { migrate } from '../../../scripts/migrate.ts'
import { startProvider } from '../../../scripts/sandbox-provider/server.ts'
import { createApp, withAllModules } from '../../app.ts'
import { type Environment, parseConfig, parseMigrateConfig } from '../../config.ts'
import { testDatabase } from '../database.ts'
import { openDetour } from '../detour.ts'
import { eventually } from '../eventually.ts'
import { silent } from '../messaging.ts'
import { ownServer } from '../own-server.ts'
import { openTestRedis } from '../redis.ts'
import { openShop, patienceMs } from '../shop.ts'
import { type Point, type Victim, runDoomed, startVictim } from './victim.ts'

const modules = ['users', 'orders', 'payments']

/** Nothing has been under way for so long: what a fetch or a commit of offsets waits for has come. */
const restMs = 350

/** Servers of their own, with the way to the provider through a detour. */
const openServers = async (name: string) => {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-crash-'))
  const provider = startProvider({ hostname: '127.0.0.1', port: 0, file: join(folder, 'ledger.sqlite') })
  const [database, ownBroker, ownRedis, detour] = await Promise.all([
    testDatabase(),
    ownServer(broker, `${name}-broker`),
    ownServer(redis, `${name}-redis`),
    openDetour(provider.url),
  ])
  const environment: Environment = {
    ...database.environment,
    KAFKA_BROKERS: ownBroker.url,
    REDIS_URL: ownRedis.url,
    PAYMENT_PROVIDER_URL: provider.url,
    NODE_ENV: 'test',
    KAFKA_SESSION_TIMEOUT_MS: '1000',
    RELAY_LEASE_MS: '500',
  }
  await migrate(parseMigrateConfig(environment), () => undefined)
  return {
    environment,
    detour,
    remove: async () => {
      await detour.cut()
      await provider.stop()
      rmSync(folder, { recursive: true, force: true })
      await Promise.all([ownBroker.remove(), ownRedis.remove(), database.drop()])
    },
  }
}

/** The whole system for the death of its process: every service real, and one process that is started again when it dies. */
export const openWorld = async (name: string) => {
  const { environment, detour, remove } = await openServers(name)
  const within = { ...environment, PAYMENT_PROVIDER_URL: detour.url }
  const owner = openPostgres({ url: environment['DATABASE_URL'] ?? '', name: 'test', poolSize: 2 })
  const raw = openTestRedis(environment)
  const app = withAllModules(createApp(parseConfig({ ...environment, DATABASE_POOL_SIZE: '2' }), silent))
  await app.connected()
  const consumers = Object.values(app.hosted).flatMap((module) => module.consumers).length

  let port = '0'
  const reached = new Set<Step>()
  const start = async () => {
    const victim = await startVictim({ ...within, PORT: port })
    port = new URL(victim.url).port
    return victim
  }
  let victim = await start()
  const shop = await openShop(victim.url, environment)

  /** Time passes while no process is there: what a dead one had claimed is free. */
  const letClaimsExpire = async () => {
    await owner.script(
      modules.map((module) => `update ${module}.timers set due_at = now() where attempts > 0`).join(';'),
    )
    await raw.del(...modules.map((module) => `${module}:snapshots:rebuild`))
  }

  /** Keeps what a process has come to, whose end this is. */
  const bury = async (dead: Victim, point?: Point) => {
    await dead.child.exited
    for (const step of [...dead.passed, ...(point ? [point.step] : [])]) reached.add(step)
    await letClaimsExpire()
  }

  const isQuiet = async () => {
    const { idleMs } = await victim.report()
    expect(victim.passed.filter((step) => step === 'consumer.take').length).toBeGreaterThanOrEqual(consumers)
    expect(idleMs).toBeGreaterThan(restMs)
    const [left] =
      await owner.run(`select (select count(*) from users.outbox)::int + (select count(*) from orders.outbox)
      + (select count(*) from payments.outbox) + (select count(*) from orders.timers where attempts > 0)
      + (select count(*) from payments.timers where attempts > 0) as count`)
    expect(Number(left?.['count'])).toBe(0)
  }

  return {
    shop,
    owner,
    redis: raw,
    detour,
    environment,
    /** Sends records as another program would. */
    send: async (records: OutgoingRecord[]) => {
      const producer = app.broker.producer()
      await producer.send(records)
      await producer.close()
    },
    /** Every step that any of the processes came to. */
    reached,
    victim: () => victim,
    /** Waits until nothing is under way and nothing is left to do. */
    rest: () => eventually(isQuiet, patienceMs),
    /** Puts another process in the place of the one that dies, at `point` if it was told to. */
    next: async (point?: Point) => {
      await bury(victim, point)
      expect(victim.child.signalCode).toBe('SIGKILL')
      victim = await start()
    },
    /** Runs a process in the place of the one that has died, which dies at the point. */
    doomed: async (point: Point) => {
      await bury(victim)
      expect(await runDoomed({ ...within, PORT: port }, point)).toBe('SIGKILL')
      reached.add(point.step)
      await letClaimsExpire()
    },
    /** Every breach of an invariant, and everything that waits for an operator. */
    breaches: async (): Promise<string[]> =>
      (await examine(app)).flatMap(({ broken, waiting }) => [...broken.lines, ...waiting.lines]),
    close: async () => {
      victim.child.kill('SIGKILL')
      await victim.child.exited
      await app.stop()
      await shop.close()
      raw.disconnect()
      await owner.close()
      await remove()
    },
  }
}

export type World = Awaited<ReturnType<typeof openWorld>>
