import { messageOf } from './errors.ts'
import type { Log } from './log.ts'
import { backoffMs, sleep } from './retry.ts'

export type Worker = {
  start(): void
  /** Says that there may be work; costs no I/O by itself. */
  wake(): void
  /** Says that there will be work at a time; what is further off than the longest pause is found without that. */
  wakeAt(ms: number): void
  /** Lets the round that runs end. */
  stop(): Promise<void>
}

export type WorkerOptions = {
  /** Does what there is to do and answers after how many milliseconds there may be more. */
  round: () => Promise<number>
  /** The longest pause between two rounds. */
  pollMs: number
  log: Log
  name: string
  enabled: boolean
}

/** Runs `round` when it is woken, when the pause it asked for is over, and at least each `pollMs`; never twice at once. */
export const createWorker = ({ round, pollMs, log, name, enabled }: WorkerOptions): Worker => {
  const stopping = new AbortController()
  let woken = false
  let nap: (() => void) | undefined
  let running: Promise<void> | undefined

  const pause = async (ms: number) => {
    if (woken || ms <= 0 || stopping.signal.aborted) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      nap = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    nap = undefined
  }

  const loop = async () => {
    for (let failures = 0; !stopping.signal.aborted;) {
      try {
        woken = false
        const pauseMs = await round()
        failures = 0
        await pause(Math.min(pauseMs, pollMs))
      } catch (error) {
        failures += 1
        log.warn({ worker: name, error: messageOf(error), failures }, 'a round of work failed')
        await sleep(backoffMs(failures, { firstMs: 50, maxMs: 2_000 }), stopping.signal)
      }
    }
  }
  const wake = () => {
    woken = true
    nap?.()
  }

  return {
    start: () => {
      if (enabled) running ??= loop()
    },
    wake,
    wakeAt: (ms) => {
      const inMs = ms - Date.now()
      if (inMs <= 0) wake()
      else if (inMs < pollMs) setTimeout(wake, inMs + 1).unref()
    },
    stop: async () => {
      stopping.abort()
      nap?.()
      await running
    },
  }
}
