import { composeDown, composeUp, dockerAnswers } from './docker.ts'
import { interrupted } from './failure.ts'
import { startNative, stopNative } from './native.ts'
import { pidFile } from './paths.ts'
import { choosePorts } from './port.ts'
import { runningProcess } from './process.ts'
import type { Job, Service } from './service.ts'
import { type State, writeState } from './state.ts'

export const isUp = async (service: Service, profile: string, state: State): Promise<boolean> => {
  const native = !state.containers.includes(service.name)
  if (native && !runningProcess(pidFile(profile, service.name))) return false
  const port = state.ports[service.ports[0]]
  return port !== undefined && service.isReady(port)
}

export const areUp = async (wanted: readonly Service[], profile: string, state: State): Promise<boolean> =>
  (await Promise.all(wanted.map((service) => isUp(service, profile, state)))).every(Boolean)

export const stopContainers = (profile: string, state: State, data: 'keep' | 'delete') =>
  composeDown({ profile, ports: state.ports, secrets: state.secrets, progress: () => {} }, { data })

type Start = Omit<Job, 'ports' | 'secrets'> & { state: State }

const startContained = async (contained: readonly Service[], { profile, state, progress, signal }: Start) => {
  if (contained.length === 0) return
  const withConsole = profile === 'dev' && contained.some((service) => service.name === 'broker')
  const names = [...contained.map((service) => service.ports[0]), ...(withConsole ? ['console'] : [])]
  // Containers that still run hold the ports that are remembered for them.
  const unknown = state.containers.length === 0 ? names : names.filter((name) => state.ports[name] === undefined)
  Object.assign(state.ports, await choosePorts(unknown, state.ports))
  // Volumes without this state are those of a `.bulkhead` that was deleted, passwords and all.
  if (!state.volumes) await stopContainers(profile, state, 'delete')
  state.containers = [...new Set([...state.containers, ...contained.map((service) => service.name)])]
  state.volumes = true
  writeState(profile, state)
  const composition = { profile, ports: state.ports, secrets: state.secrets, progress, signal }
  await composeUp(
    composition,
    contained.flatMap((service) => service.composeService ?? []),
  )
}

const startOne = (service: Service, start: Start) => {
  const { state, profile } = start
  return startNative(service, { ...start, ports: state.ports, secrets: state.secrets }, (ports) => {
    Object.assign(state.ports, ports)
    writeState(profile, state)
  })
}

/** Starts what is not up, all at once; what it started it stops again when any of them fails. Returns its names. */
export const startMissing = async (wanted: readonly Service[], start: Start): Promise<string[]> => {
  const { profile, state } = start
  const up = await Promise.all(wanted.map((service) => isUp(service, profile, state)))
  const missing = wanted.filter((_, index) => !up[index])
  const isAlive = (service: Service) => runningProcess(pidFile(profile, service.name)) !== undefined
  const alive = missing.filter(isAlive)
  const containable = missing.filter((service) => service.composeService && !alive.includes(service))
  const contained = containable.length > 0 && (await dockerAnswers()) ? containable : []
  const native = missing.filter((service) => !contained.includes(service))
  state.containers = state.containers.filter((name) => !native.some((service) => service.name === name))

  const failed = new AbortController()
  const errors: unknown[] = []
  const inner = { ...start, signal: AbortSignal.any([start.signal, failed.signal]) }
  const starts = [startContained(contained, inner), ...native.map((service) => startOne(service, inner))]
  const noted = starts.map((one) =>
    one.catch((error: unknown) => {
      errors.push(error)
      failed.abort()
    }),
  )
  await Promise.all(noted)
  const ours = missing.filter((service) => !alive.includes(service))
  if (errors.length === 0) return ours.map((service) => service.name)
  await Promise.all(native.filter((service) => ours.includes(service)).map((service) => stopNative(service, profile)))
  if (contained.length > 0) await stopContainers(profile, state, 'keep').catch(() => {})
  throw start.signal.aborted ? interrupted() : errors[0]
}
