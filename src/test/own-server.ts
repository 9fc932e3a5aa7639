import { realpathSync } from 'node:fs'
import { servicesRemove } from '../../scripts/services/index.ts'
import { startNative } from '../../scripts/services/native.ts'
import { pidFile, serviceFolder } from '../../scripts/services/paths.ts'
import { isAlive, runningProcess } from '../../scripts/services/process.ts'
import type { Ports, Service } from '../../scripts/services/service.ts'
import { newState } from '../../scripts/services/state.ts'
import { eventually } from './eventually.ts'

/** A server that a test may kill, freeze and start again, with data of its own and apart from the services of the run. */
export const ownServer = async (service: Service, name: string) => {
  const profile = `test-${process.pid}-${name}`
  const job = { profile, secrets: newState().secrets, progress: () => undefined, signal: new AbortController().signal }
  let ports: Ports = {}
  const start = () => startNative(service, { ...job, ports }, (chosen) => (ports = chosen))
  const running = () => {
    const identity = runningProcess(pidFile(profile, service.name))
    if (!identity) throw new Error(`${service.title} does not run.`)
    return identity
  }
  await start()
  return {
    url: service.address(ports[service.ports[0]] ?? 0, job.secrets),
    /** Where it keeps what it keeps. */
    folder: realpathSync(serviceFolder(profile, service.name)),
    start,
    signal: (signal: NodeJS.Signals) => process.kill(running().pid, signal),
    /** Sends the signal and waits for the end. */
    end: async (signal: NodeJS.Signals) => {
      const identity = running()
      process.kill(identity.pid, signal)
      await eventually(() => {
        if (isAlive(identity)) throw new Error(`${service.title} still runs.`)
      })
    },
    remove: () => servicesRemove(profile),
  }
}

export type OwnServer = Awaited<ReturnType<typeof ownServer>>
