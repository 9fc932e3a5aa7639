import { existsSync, lstatSync, realpathSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { addressOf, serviceEnvironment } from './environment.ts'
import { interruptible } from './interruptible.ts'
import { services } from './list.ts'
import { withLock } from './lock.ts'
import { stopNative } from './native.ts'
import { logFile, pidFile, profileFolder, serviceFolder } from './paths.ts'
import { runningProcess } from './process.ts'
import type { Environment, Progress, ServiceEnvironment } from './service.ts'
import { areUp, isUp, startMissing, stopContainers } from './start.ts'
import { newState, readState, writeState } from './state.ts'

export { ServiceFailure } from './failure.ts'
export { environmentVariables, type Environment, type Progress, type ServiceEnvironment } from './service.ts'

/** Aborting `signal` stops what was being started, as Ctrl-C does. */
export type Options = { env?: Environment; progress?: Progress; signal?: AbortSignal }

/** `started` names the services that this call started: what was up before is not among them. */
export type Started = { environment: ServiceEnvironment; started: string[] }

export type ServiceStatus = {
  name: string
  title: string
  from: 'environment' | 'docker' | 'native'
  up: boolean
  /** Where it is reached, without the password. */
  address: string
  pid?: number
  log?: string
}

export type ServicesStatus = { up: boolean; services: ServiceStatus[]; environment?: ServiceEnvironment }

/** Brings up what the environment does not already name, and says which of it this call had to start. */
export const startServices = async (
  profile: string,
  { env = process.env, progress = () => {}, signal: given }: Options = {},
): Promise<Started> => {
  const wanted = services.filter((service) => !env[service.variable])
  const before = readState(profile)
  if (before && (await areUp(wanted, profile, before)))
    return { environment: serviceEnvironment(before, env), started: [] }
  return interruptible((ctrlC) => {
    const signal = given ? AbortSignal.any([given, ctrlC]) : ctrlC
    return withLock(
      profile,
      async () => {
        const state = readState(profile) ?? newState()
        writeState(profile, state)
        const started = await startMissing(wanted, { profile, state, progress, signal })
        return { environment: serviceEnvironment(state, env), started }
      },
      { signal, onWait: () => progress('waiting for another start or stop of these services') },
    )
  })
}

/** Brings up what the environment does not already name, and returns the variables that reach all of it. */
export const servicesUp = async (profile: string, options: Options = {}): Promise<ServiceEnvironment> =>
  (await startServices(profile, options)).environment

const stopAll = async (profile: string, data: 'keep' | 'delete'): Promise<string[]> => {
  const ran = await Promise.all(services.map((service) => stopNative(service, profile)))
  const stopped = services.filter((_, index) => ran[index]).map((service) => service.name)
  const state = readState(profile)
  if (!state || state.containers.length === 0) return stopped
  await stopContainers(profile, state, data)
  writeState(profile, { ...state, containers: [] })
  return [...stopped, ...state.containers]
}

/** Stops what runs of this profile and keeps its data. Returns the names of what ran. */
export const servicesDown = (profile: string): Promise<string[]> => withLock(profile, () => stopAll(profile, 'keep'))

/** Stops what runs of this profile and deletes its data. */
export const servicesRemove = (profile: string): Promise<void> =>
  withLock(profile, async () => {
    await stopAll(profile, 'delete')
    const postgres = serviceFolder(profile, 'postgres')
    if (existsSync(postgres) && lstatSync(postgres).isSymbolicLink())
      rmSync(dirname(realpathSync(postgres)), { recursive: true, force: true })
    rmSync(profileFolder(profile), { recursive: true, force: true })
  })

const withoutPassword = (address: string) => address.replace(/:[^:@/]*@/, '@')

/** What runs where. The environment is there when everything is up. */
export const servicesStatus = async (
  profile: string,
  { env = process.env }: { env?: Environment } = {},
): Promise<ServicesStatus> => {
  const known = readState(profile)
  const state = known ?? newState()
  const list = await Promise.all(
    services.map(async (service): Promise<ServiceStatus> => {
      const { name, title } = service
      const address = withoutPassword(addressOf(service, state, env))
      if (env[service.variable]) return { name, title, from: 'environment', up: true, address }
      const up = known !== undefined && (await isUp(service, profile, known))
      if (state.containers.includes(name)) return { name, title, from: 'docker', up, address }
      const pid = runningProcess(pidFile(profile, name))?.pid
      return { name, title, from: 'native', up, address, log: logFile(profile, name), ...(pid ? { pid } : {}) }
    }),
  )
  const up = list.every((service) => service.up)
  return { up, services: list, ...(up ? { environment: serviceEnvironment(state, env) } : {}) }
}

/** This process's environment, completed by what reaches the services of development while they are up. */
export const developmentEnvironment = async (): Promise<Environment> => {
  const { environment } = await servicesStatus('dev')
  return { ...environment, ...process.env }
}
