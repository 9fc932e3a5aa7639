import { Worker } from 'node:worker_threads'
import { z } from 'zod'
import { UnavailableError, isTransient, messageOf } from '../errors.ts'
import { endOnFault } from '../lifecycle.ts'
import type { RawRecord } from './cloud-event.ts'

/** A message that a process died with, for the consumer that handles it. */
export type Accused = { consumer: string; position: string; record: RawRecord }

/**
 * What became of a process that handled a message: it died; it lived, so that the message has had its effect or failed like any
 * other; or it did not come to that, since a service is away or it was told to stop.
 */
export type Verdict = 'died' | 'lived' | 'untried'

/** Handles a message in a process of its own, which ends when `signal` aborts. @throws UnavailableError when none can be started */
export type Trial = (accused: Accused, signal: AbortSignal) => Promise<Verdict>

/** By its exit code a process says that it did not come to an end with the message (EX_TEMPFAIL of sysexits.h). */
const untried = 75

/** So long after its start the process that tries gives up, if it still can: the message does not kill. */
const patienceMs = 20_000

/** A process that cannot give up either hangs in the message, and is killed. */
export const hangsAfterMs = 30_000

const stops = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

const ready = 'ready'

const sent = z.object({
  consumer: z.string(),
  position: z.string(),
  record: z.object({
    topic: z.string(),
    key: z.string(),
    headers: z.record(z.string(), z.string()),
    value: z.base64().transform((value) => Buffer.from(value, 'base64')),
  }),
})

const toSend = ({ consumer, position, record }: Accused): z.input<typeof sent> => ({
  consumer,
  position,
  record: { ...record, value: record.value.toString('base64') },
})

export type TrialOptions = {
  /** Starts a process that calls `beTried`. */
  command: string[]
  env?: Record<string, string | undefined>
}

/** Starts the process; `isReady` is called when that waits for its message. @throws UnavailableError when there is no room for it */
const start = ({ command, env = process.env }: TrialOptions, signal: AbortSignal, isReady: (child: Child) => void) => {
  try {
    return Bun.spawn(command, {
      env,
      stdin: 'ignore',
      stdout: 'inherit',
      stderr: 'inherit',
      signal,
      timeout: hangsAfterMs,
      killSignal: 'SIGKILL',
      serialization: 'json',
      ipc: (said, child) => {
        if (said === ready) isReady(child)
      },
    })
  } catch (error) {
    throw new UnavailableError(`No process was started to try a message in: ${messageOf(error)}`, { cause: error })
  }
}

type Child = Pick<Bun.Subprocess, 'send'>

/** Tries messages in processes that are given the message when they are ready for it: what ends them before is not its doing. */
export const createTrial =
  (options: TrialOptions): Trial =>
  async (accused, signal) => {
    if (signal.aborted) return 'untried'
    let given = false
    const child = start(options, signal, (waiting) => {
      try {
        waiting.send(toSend(accused))
        given = true
      } catch {
        // It is not there any more.
      }
    })
    const code = await child.exited
    const stopped = signal.aborted || stops.some((name) => name === child.signalCode)
    if (!given || stopped || code === untried) return 'untried'
    return code === 0 ? 'lived' : 'died'
  }

/** What a process does that tries one message: it makes itself ready, is given the message, and ends with it. */
export const beTried = async (prepare: () => Promise<(accused: Accused) => Promise<void>>): Promise<never> => {
  const watchdog = new Worker(new URL('./trial-watchdog.ts', import.meta.url))
  watchdog.unref()
  let given = false
  setTimeout(() => process.exit(given ? 0 : untried), patienceMs - performance.now())
  for (const name of [...stops, 'disconnect']) process.on(name, () => process.exit(untried))
  // What would end the process that serves ends this one as well.
  endOnFault((error) => {
    console.error(messageOf(error))
    return given ? 1 : untried
  })
  try {
    const attempt = await prepare()
    const message = new Promise<unknown>((resolve) => process.once('message', resolve))
    process.send?.(ready)
    const accused = sent.parse(await message)
    given = true
    await attempt(accused)
  } catch (error) {
    console.error(`A message was tried by itself, and failed: ${messageOf(error)}`)
    process.exit(given && !isTransient(error) ? 0 : untried)
  }
  process.exit(0)
}
