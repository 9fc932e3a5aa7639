import type { z } from 'zod'
import type { World } from '../commands.ts'

/** Reads something that was answered for; that it is not there is a breach. */
export const read = async <Schema extends z.ZodType>(
  { door, record }: World,
  schema: Schema,
  path: string,
  token: string | undefined,
): Promise<z.infer<Schema> | undefined> => {
  const answer = await door.ask({ method: 'GET', path, token, timeoutMs: 10_000 })
  if (answer?.status === 200) return schema.parse(answer.body)
  record.breach(`${path} was answered for and is now ${answer ? `answered ${answer.status}` : 'not answered'}`)
  return undefined
}

/** Does the work for each, several at once. */
export const eachOf = async <T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> => {
  const waiting = [...items].values()
  const lane = async () => {
    for (const item of waiting) await work(item)
  }
  await Promise.all(Array.from({ length: 24 }, lane))
}
