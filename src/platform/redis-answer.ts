import { UnavailableError, messageOf } from './errors.ts'

/** Replies that say that the server cannot do it now; any other refusal is a fault of ours. */
const passing = /^(LOADING|READONLY|OOM|BUSY|MISCONF|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS)/

/** What a command is answered with. @throws UnavailableError when Redis is away or cannot do it now */
export const answered = async <T>(call: Promise<T>): Promise<T> => {
  try {
    return await call
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError' && !passing.test(error.message)) throw error
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
