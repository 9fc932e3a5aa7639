import { existsSync, lstatSync, realpathSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { composeDown, composeUp, dockerAnswers } from './docker.ts'
import { addressOf, serviceEnvironment } from './environment.ts'
import { interrupted } from './failure.ts'
import { services } from './list.ts'
import { withLock } from './lock.ts'
import { startNative, stopNative } from './native.ts'
import { logFile, pidFile, profileFolder, serviceFolder } from './paths.ts'
import { choosePorts } from './port.ts'
import { runningProcess } from './process.ts'
import type { Environment, Job, Progress, Service, ServiceEnvironment } from './service.ts'
import { newState, readState, type State, writeState } from './state.ts'

export { ServiceFailure } from './failure.ts'
export { environmentVariables, type Environment, type Progress, type ServiceEnvironment } from './service.ts'

export type Options = { env?: Environment; progress?: Progress }

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

const isUp = async (service: Service, profile: string, state: State): Promise<boolean> => {
  const native = !state.containers.includes(service.name)
  if (native && !runningProcess(pidFile(profile, service.name))) return false
  const port = state.ports[service.ports[0]]
  return port !== undefined && service.isReady(port)
}

const areUp = async (wanted: readonly Service[], profile: string, state: State): Promise<boolean> =>
  (await Promise.all(wanted.map((service) => isUp(service, profile, state)))).every(Boolean)

/** Lets Ctrl-C, or a polite kill, end the work through its signal, so that it can clear up behind itself. */
const interruptible = async <Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> => {
  const controller = new AbortController()
  const abort = () => controller.abort()
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const name of names) process.on(name, abort)
  try {
    return await work(controller.signal)
  } finally {
    for (const name of names) process.off(name, abort)
  }
}

/** Starts what is not up, all at once; what it started it stops again when any of them fails. */
const startMissing = async (wanted: readonly Service[], state: State, job: Omit<Job, 'ports' | 'secrets'>) => {
  const { profile, progress } = job
  const failed = new AbortController()
  const signal = AbortSignal.any([job.signal, failed.signal])
  const missing: Service[] = []
  for (const service of wanted) if (!(await isUp(service, profile, state))) missing.push(service)
  const alive = (service: Service) => runningProcess(pidFile(profile, service.name)) !== undefined
  const withoutContainer = missing.filter((service) => !service.composeService || alive(service))
  const docker = missing.length > withoutContainer.length && (await dockerAnswers())
  const contained = docker ? missing.filter((service) => !withoutContainer.includes(service)) : []
  const native = missing.filter((service) => !contained.includes(service))
  const alreadyAlive = native.filter(alive)
  state.containers = state.containers.filter((name) => !native.some((service) => service.name === name))

  const startContained = async () => {
    if (contained.length === 0) return
    const console = profile === 'dev' && contained.some((service) => service.name === 'broker') ? ['console'] : []
    const names = [...contained.map((service) => service.ports[0]), ...console]
    // Containers that run hold their own ports, so only a first start looks for others.
    if (names.some((name) => state.ports[name] === undefined)) Object.assign(state.ports, await choosePorts(names, {}))
    state.containers = [...new Set([...state.containers, ...contained.map((service) => service.name)])]
    writeState(profile, state)
    const composition = { profile, ports: state.ports, secrets: state.secrets, progress, signal }
    await composeUp(
      composition,
      contained.flatMap((service) => service.composeService ?? []),
    )
  }
  const startOne = async (service: Service) => {
    const { ports } = await startNative(service, { ...job, signal, ports: state.ports, secrets: state.secrets })
    Object.assign(state.ports, ports)
    writeState(profile, state)
  }
  const results = await Promise.allSettled(
    [startContained(), ...native.map(startOne)].map((start) =>
      start.catch((error: unknown) => {
        failed.abort()
        throw error
      }),
    ),
  )
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
  if (errors.length > 0) {
    const ours = native.filter((service) => !alreadyAlive.includes(service))
    await Promise.all(ours.map((service) => stopNative(service, profile)))
    if (contained.length > 0) await stopContainers(profile, state, 'keep').catch(() => {})
    throw job.signal.aborted ? interrupted() : errors[0]
  }
  return missing.filter((service) => !alreadyAlive.includes(service)).map((service) => service.name)
}

/** Brings up what the environment does not already name, and says which of it this call had to start. */
export const startServices = async (
  profile: string,
  { env = process.env, progress = () => {} }: Options = {},
): Promise<Started> => {
  const wanted = services.filter((service) => !env[service.variable])
  const before = readState(profile)
  if (before && (await areUp(wanted, profile, before)))
    return { environment: serviceEnvironment(before, env), started: [] }
  return interruptible((signal) =>
    withLock(
      profile,
      async () => {
        const state = readState(profile) ?? newState()
        writeState(profile, state)
        const started = await startMissing(wanted, state, { profile, progress, signal })
        return { environment: serviceEnvironment(state, env), started }
      },
      { signal, onWait: () => progress('waiting for another start or stop of these services') },
    ),
  )
}

/** Brings up what the environment does not already name, and returns the variables that reach all of it. */
export const servicesUp = async (profile: string, options: Options = {}): Promise<ServiceEnvironment> =>
  (await startServices(profile, options)).environment

const stopContainers = (profile: string, state: State, data: 'keep' | 'delete') =>
  composeDown({ profile, ports: state.ports, secrets: state.secrets, progress: () => {} }, { data })

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
