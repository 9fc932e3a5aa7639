import type { GraphQLResolveInfo } from 'graphql'
import { z } from 'zod'
import { DomainError } from '#platform/errors'
import type { SnapshotVersion } from '#platform/snapshots'
import type { Call } from '../call.ts'
import { decodeConsistency } from '../consistency.ts'
import type { Identity } from '../identity.ts'
import { type Command, answerOnce, keyOf } from '../once.ts'

const refusal = z.object({ code: z.string(), detail: z.string() })

type Asked = { call: Call; info: GraphQLResolveInfo; identity: Identity; input: unknown }

type Mutation<Result> = Pick<Command<Result>, 'module' | 'run'> & {
  /** What a result that was kept is decoded with. */
  result: z.ZodType<Result>
  changed: (result: Result) => SnapshotVersion[]
}

/**
 * Runs the command of a mutation, once for each `Idempotency-Key` and place in the document: the fields of a repeat are
 * answered from the first result. Another document, or another input, is another body.
 * @throws DomainError `idempotency-key-reused`; what the command throws
 */
export const mutateOnce = async <Result extends object>(
  { call, info: { operation, path }, identity, input }: Asked,
  { module, run, result, changed }: Mutation<Result>,
): Promise<Result> => {
  const body = [operation.loc?.source.body, operation.name?.value, input]
  const key = keyOf({ call, identity, input: body, route: `POST /graphql ${String(path.key)}` })
  if (!key) {
    const made = await run()
    call.changed.push(...changed(made))
    return made
  }
  const answer = (made: Result) => ({ status: 200 as const, body: made, changed: changed(made) })
  const kept = await answerOnce(key, { module, run, answer })
  if (kept.status >= 400) {
    const { code, detail } = refusal.parse(JSON.parse(kept.body))
    throw new DomainError(code, detail)
  }
  call.changed.push(...decodeConsistency(kept.consistency))
  return result.parse(JSON.parse(kept.body))
}
