import { join } from 'node:path'
import type { Step } from '#platform/durable'
import type { Environment } from '../../config.ts'
import { runProcess, startProcess } from '../process.ts'
import type { Order, Point, Report } from './killing-durable.ts'

export type { Point } from './killing-durable.ts'

/** What replaces the module of durable steps, in whatever process it is loaded into. */
export const preload = join(import.meta.dir, 'preload.ts')

export const dieAt = (point: Point): Environment => ({ DIE_AT: JSON.stringify(point) })

/** Runs the process, which is to die at the point before it is told anything; answers with the signal that ended it. */
export const runDoomed = async (environment: Environment, point: Point): Promise<string> => {
  const { child } = runProcess(
    { ...environment, ...dieAt(point), LOG_LEVEL: 'info' },
    { preload, ipc: () => undefined },
  )
  await child.exited
  return String(child.signalCode)
}

/** The process as `bun run start` runs it, but that it can be told at which durable step to die. */
export const startVictim = async (environment: Environment) => {
  const waiting: ((report: Report) => void)[] = []
  const passed: Step[] = []
  const ipc = (message: unknown) => waiting.shift()?.(message as Report)
  const started = await startProcess(environment, { preload, ipc })

  const order = async (given: Order): Promise<{ idleMs: number }> => {
    const answered = Promise.race([
      new Promise<Report>((resolve) => void waiting.push(resolve)),
      started.child.exited.then(() => Promise.reject(new Error('The process has died.'))),
    ])
    started.child.send(given)
    const report = await answered
    passed.push(...report.passed)
    return report
  }
  return {
    ...started,
    /** The steps that it is known to have come to. */
    passed,
    /** Lets the process die when it comes to the point from now on. */
    arm: (point: Point) => order({ arm: point }),
    /** Looks what it has passed since, and for how long nothing has been under way. */
    report: () => order({ report: true }),
  }
}

export type Victim = Awaited<ReturnType<typeof startVictim>>
