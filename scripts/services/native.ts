import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { interrupted, ServiceFailure } from './failure.ts'
import { logFile, pidFile, profileFolder } from './paths.ts'
import { choosePorts, isFree } from './port.ts'
import { runningProcess, spawnServer, startOf, stopProcess } from './process.ts'
import type { Job, Ports, Service } from './service.ts'

const startLimitMs = 120_000
const stopLimitMs = 15_000

const lastWords = (file: string): string => {
  if (!existsSync(file)) return 'it wrote nothing'
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  const telling = lines.findLast((line) => /fatal|error|exception/i.test(line)) ?? lines.at(-1)
  return telling?.trim().slice(0, 300) || 'it wrote nothing'
}

const instead = (service: Service) => `or set ${service.variable} to one that runs`

type Outcome = 'ready' | 'died' | 'port-taken'

/** Waits until the server answers, and notices when it dies instead. */
const outcome = async (service: Service, pid: number, ports: Ports, signal: AbortSignal): Promise<Outcome> => {
  const deadline = Date.now() + startLimitMs
  const port = ports[service.ports[0]] ?? 0
  for (;;) {
    if (signal.aborted) throw interrupted()
    const alive = startOf(pid) !== undefined
    if (!alive) {
      const free = await Promise.all(service.ports.map((name) => isFree(ports[name] ?? 0)))
      return free.every(Boolean) ? 'died' : 'port-taken'
    }
    if (await service.isReady(port)) return 'ready'
    if (Date.now() > deadline)
      throw new ServiceFailure(`${service.title} did not answer within ${startLimitMs / 1000} s`)
    await Bun.sleep(15)
  }
}

/**
 * Brings a native service up on its remembered ports, or on others where somebody else has taken them. A server that
 * an interrupted start left behind is kept. The ports are remembered before anything listens on them.
 */
export const startNative = async (service: Service, job: Job, remember: (ports: Ports) => void): Promise<void> => {
  const pid = pidFile(job.profile, service.name)
  const log = logFile(job.profile, service.name)
  mkdirSync(profileFolder(job.profile), { recursive: true })
  const left = runningProcess(pid)
  if (left) {
    const answers = await outcome(service, left.pid, job.ports, job.signal).catch((error: unknown) => {
      if (job.signal.aborted) throw error
      return 'died' as const
    })
    if (answers === 'ready') return
    await stopNative(service, job.profile)
  }
  for (let attempt = 1; ; attempt += 1) {
    const ports = await choosePorts(service.ports, job.ports)
    const server = await service.prepare({ ...job, ports })
    if (job.signal.aborted) throw interrupted()
    job.progress(`${service.title}: starting`)
    remember(ports)
    const spawned = spawnServer(server, pid, log)
    const result = await outcome(service, spawned, ports, job.signal)
    if (result === 'ready') return
    if (result === 'died' || attempt === 3)
      throw new ServiceFailure(
        `${service.title} ended at its start (${lastWords(log)}); its log: ${log}; ${instead(service)}`,
      )
  }
}

/** Stops a native service, gracefully at first. Returns whether it ran. */
export const stopNative = async (service: Service, profile: string): Promise<boolean> => {
  const running = runningProcess(pidFile(profile, service.name))
  if (running) await stopProcess(running, service.stopSignal, stopLimitMs)
  return running !== undefined
}
