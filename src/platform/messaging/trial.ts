import { z } from 'zod'
import { UnavailableError, isTransient, messageOf } from '../errors.ts'
import type { RawRecord } from './cloud-event.ts'

/** A message that a process died with, for the consumer that handles it. */
export type Accused = { consumer: string; position: string; record: RawRecord }

/**
 * Handles a message in a process of its own, and says whether that has lived: it has had its effect then, or failed like any
 * other. @throws UnavailableError when it could not be tried
 */
export type Trial = (accused: Accused) => Promise<boolean>

/** By its exit code a process says that it did not come to the message (EX_TEMPFAIL of sysexits.h). */
const notTried = 75

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

/** After so long the process that tries gives up, if it still can: what it waited for has nothing to do with the message. */
const patienceMs = 20_000

/** A process that cannot give up either hangs in the message, and is killed. */
const hangsAfterMs = 30_000

/** Tries messages by `command`, which has to call `beTried`. */
export const createTrial =
  (command: string[]): Trial =>
  async (accused) => {
    const child = Bun.spawn(command, {
      stdin: new Blob([JSON.stringify(toSend(accused))]),
      stdout: 'inherit',
      stderr: 'inherit',
      timeout: hangsAfterMs,
      killSignal: 'SIGKILL',
    })
    const code = await child.exited
    if (code === notTried) throw new UnavailableError('The message could not be tried in a process of its own.')
    return code === 0
  }

/** What a process does that tries one message, which it is given on stdin: it ends with it. */
export const beTried = async (attempt: (accused: Accused) => Promise<void>): Promise<never> => {
  setTimeout(() => process.exit(notTried), patienceMs)
  // What would end the process that serves ends this one as well.
  for (const fault of ['uncaughtException', 'unhandledRejection'])
    process.on(fault, (error: unknown) => {
      console.error(messageOf(error))
      process.exit(1)
    })
  try {
    await attempt(sent.parse(await Bun.stdin.json()))
  } catch (error) {
    console.error(`A message that was tried by itself failed: ${messageOf(error)}`)
    process.exit(isTransient(error) ? notTried : 0)
  }
  process.exit(0)
}
