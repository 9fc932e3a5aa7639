import { UnavailableError, messageOf } from './errors.ts'
import { type Observe, redisFailures, redisRoundTrips } from './metrics.ts'

/** Replies that say that the server cannot do it now; any other refusal is a fault of ours. */
const passing = /^(LOADING|READONLY|OOM|BUSY|MISCONF|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS)/

/** What this process asks of Redis, as the metrics name it. */
const operations = [
  'get',
  'snapshots',
  'flags',
  'set',
  'extend',
  'mark',
  'count',
  'expiry',
  'lists',
  'newest',
  'members',
  'scan',
  'delete',
  'info',
  'publish',
] as const

export type Operation = (typeof operations)[number]

const observers = Object.fromEntries(
  operations.map((operation) => [operation, redisRoundTrips({ operation })]),
) as Record<Operation, Observe>

const isReply = (error: unknown): error is Error => error instanceof Error && error.name === 'ReplyError'

const reasonOf = (error: unknown): string => {
  if (isReply(error)) return 'refused'
  return /timed out|timeout/i.test(messageOf(error)) ? 'timeout' : 'away'
}

/** What a command is answered with. @throws UnavailableError when Redis is away or cannot do it now */
export const answered = async <T>(operation: Operation, call: Promise<T>): Promise<T> => {
  const startedAt = performance.now()
  try {
    const answer = await call
    observers[operation]((performance.now() - startedAt) / 1_000)
    return answer
  } catch (error) {
    redisFailures.inc({ operation, reason: reasonOf(error) })
    if (isReply(error) && !passing.test(error.message)) throw error
    throw new UnavailableError(`Redis does not answer: ${messageOf(error)}`, { cause: error })
  }
}

type Pipeline = { exec(): Promise<[error: Error | null, answer: unknown][] | null> }

/** The answers to all commands of a pipeline; rejects with the first error among them, which ioredis takes for an answer. */
export const allOf = async (pipeline: Pipeline): Promise<unknown[]> => {
  const answers = (await pipeline.exec()) ?? []
  return answers.map(([error, answer]) => {
    if (error) throw error
    return answer
  })
}
