import { isTransient, messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import { retries } from '../metrics.ts'
import { type Backoff, backoffMs, sleep } from '../retry.ts'
import type { PartitionBatch } from './kafka.ts'

/** Says when work is not ours any more: `check` throws once the partitions are lost or the process stops. */
export type Abandoned = { signal: AbortSignal; check(): void; end(): void }

/** Work that only the stop of the process ends. */
export const untilStopped = (signal: AbortSignal): Abandoned => ({
  signal,
  check: () => signal.throwIfAborted(),
  end: () => undefined,
})

const heartbeatEveryMs = 500

/** Keeps the group membership alive while work goes on. */
export const watchHeartbeat = (batches: PartitionBatch[], stopping: AbortSignal): Abandoned => {
  const lost = new AbortController()
  const timer = setInterval(() => {
    batches[0]?.heartbeat().catch((error: unknown) => lost.abort(error))
  }, heartbeatEveryMs)
  return { ...untilStopped(AbortSignal.any([lost.signal, stopping])), end: () => clearInterval(timer) }
}

/** Repeats what fails for a transient reason until it passes or the work is not ours any more. */
export const createPersist =
  ({ log, name, retry }: { log: Log; name: string; retry: Backoff }) =>
  async <T>(abandoned: Abandoned, work: () => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt += 1) {
      abandoned.check()
      try {
        return await work()
      } catch (error) {
        if (!isTransient(error)) throw error
        retries.inc({ kind: 'consumer', name })
        log.warn({ consumer: name, error: messageOf(error), attempt }, 'a service is away; the messages wait')
        await sleep(backoffMs(attempt, retry), abandoned.signal)
      }
    }
  }

export type Persist = ReturnType<typeof createPersist>
