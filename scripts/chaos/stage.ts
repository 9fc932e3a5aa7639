import { cpSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Environment } from '../../src/config.ts'
import { broker } from '../services/broker.ts'
import { serviceEnvironment } from '../services/environment.ts'
import { servicesRemove } from '../services/index.ts'
import { startNative } from '../services/native.ts'
import { pidFile, profileFolder } from '../services/paths.ts'
import { exchange } from '../services/port.ts'
import { postgres } from '../services/postgres.ts'
import { isAlive, runningProcess } from '../services/process.ts'
import { provider } from '../services/provider.ts'
import { redis } from '../services/redis.ts'
import type { Progress, Service } from '../services/service.ts'
import { newState } from '../services/state.ts'
import { sleep } from '#platform/retry'
import { createTurns } from '#platform/turns'

const services = { postgres, broker, redis, provider }

export type ServiceName = keyof typeof services

const names = Object.keys(services) as ServiceName[]

/** The folder of the profile goes with each run. */
export type StageOptions = { profile: string; progress: Progress; signal: AbortSignal }

/** The services of one run, native and with fresh data, each of which may be killed and started again. */
export const openStage = async ({ profile, progress, signal }: StageOptions) => {
  await servicesRemove(profile)
  const state = newState()
  const job = { profile, secrets: state.secrets, progress, signal }
  const portOf = (name: ServiceName): number => state.ports[services[name].ports[0]] ?? 0

  /** A server with much to load may still start when its next fault is due. */
  const inTurn = { postgres: createTurns(), broker: createTurns(), redis: createTurns(), provider: createTurns() }

  const startNow = async (name: ServiceName): Promise<void> => {
    const before = portOf(name)
    const remember = (ports: Record<string, number>) => void Object.assign(state.ports, ports)
    const quiet = before === 0 ? job : { ...job, progress: () => undefined }
    await startNative(services[name], { ...quiet, ports: state.ports }, remember)
    if (before !== 0 && portOf(name) !== before) throw new Error(`Somebody else has taken the port of ${name}.`)
  }

  const start = (name: ServiceName): Promise<void> => inTurn[name](() => startNow(name))

  const runs = (service: Service) => runningProcess(pidFile(profile, service.name))

  return {
    /** What reaches the services without a gate. */
    environment: (): Environment => serviceEnvironment(state, {}),
    portOf,
    start,
    startAll: () => Promise.all(names.map(start)),
    /** Starts what is down. */
    startMissing: () => Promise.all(names.filter((name) => !runs(services[name])).map(start)),
    /** Ends a service by a signal, and answers when it is gone. */
    end: (name: ServiceName, signal: NodeJS.Signals): Promise<void> =>
      inTurn[name](async () => {
        const running = runs(services[name])
        if (!running) return
        process.kill(running.pid, signal)
        while (isAlive(running)) await sleep(10)
      }),
    /** Removes everything from Redis. */
    flush: (): Promise<void> =>
      inTurn.redis(async () => {
        await exchange(portOf('redis'), Buffer.from('FLUSHALL\r\n'))
      }),
    keepLogs: (folder: string): void => {
      const from = profileFolder(profile)
      if (!existsSync(from)) return
      for (const name of readdirSync(from).filter((file) => /\.log(\.old)?$/.test(file)))
        cpSync(join(from, name), join(folder, `service-${name}`))
    },
    remove: () => servicesRemove(profile),
  }
}

export type Stage = Awaited<ReturnType<typeof openStage>>
