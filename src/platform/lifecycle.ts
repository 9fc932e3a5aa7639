import { messageOf } from './errors.ts'
import type { Log } from './log.ts'
import { sleep } from './retry.ts'

export type StopOptions = {
  log: Log
  /** After this long the process ends whatever still runs. */
  timeoutMs: number
  /** Run one after the other; a failing one does not keep the next from running. */
  steps: (() => Promise<unknown>)[]
}

/**
 * On SIGTERM or SIGINT runs the steps and exits with 0; a second SIGINT, or the deadline, exits with 1 at once. A fault that
 * nobody caught is logged and ends the process with 1: its state is unknown, and everything durable survives a restart.
 */
export const stopOnSignals = ({ log, timeoutMs, steps }: StopOptions): void => {
  let stopping = false
  const stop = async (signal: string) => {
    if (stopping && signal === 'SIGINT') process.exit(1)
    if (stopping) return
    stopping = true
    log.info({ signal }, 'stopping')
    setTimeout(() => {
      log.error({ timeoutMs }, 'stopped at the deadline with work in hand')
      process.exit(1)
    }, timeoutMs).unref()
    for (const step of steps) {
      await step().catch((error: unknown) => log.error({ error: messageOf(error) }, 'a step of the stop failed'))
    }
    log.info('stopped')
    process.exit(0)
  }
  process.on('SIGTERM', () => void stop('SIGTERM'))
  process.on('SIGINT', () => void stop('SIGINT'))
  endOnFault((error) => {
    log.fatal({ error }, 'a fault that nobody caught')
    return 1
  })
}

/** Ends the process on a fault that nobody caught, with the exit code that `tell` answers. */
export const endOnFault = (tell: (error: unknown) => number): void => {
  const end = (error: unknown) => process.exit(tell(error))
  process.on('uncaughtException', end)
  process.on('unhandledRejection', end)
}

type Server = { stop(closeActiveConnections?: boolean): Promise<void> }

/**
 * Takes no new connection, lets the requests in hand finish, and cuts what is left after `withinMs`. A server waits for
 * answers that have no end, so `end` has to end them.
 */
export const stopServer = async (
  server: Server,
  { end, withinMs }: { end: () => void; withinMs: number },
): Promise<void> => {
  const stopped = server.stop()
  end()
  await Promise.race([stopped, sleep(withinMs)])
  await server.stop(true)
}
