import { DomainError, isRolledBack, isTransient } from '../errors.ts'
import type { Postgres, Transaction } from '../postgres.ts'
import { traced } from '../tracing.ts'
import { createGroupCommit } from './group-commit.ts'
import type { Emit, Trace } from './message.ts'
import type { Emitted, Keep, Outbox } from './outbox.ts'

/** One of the requests that share a transaction; what it emits belongs to its own story. */
export type Member<Source extends string, Request> = { request: Request; emit: Emit<Source> }

/**
 * What is done for several requests in one transaction: a result for each, or the refusal of it. One that is refused has
 * written and emitted nothing.
 */
export type ForAll<Source extends string, Request, Result> = (
  transaction: Transaction,
  members: Member<Source, Request>[],
) => Promise<(Result | DomainError)[]>

/** Runs `forAll` for this request and those that came at the same moment. */
export type Together<Source extends string> = <Request, Result>(
  forAll: ForAll<Source, Request, Result>,
  request: Request,
) => Promise<Result>

/** Does `work` for those that are accepted, and gives each its result or its refusal, in their order. */
export const unlessRefused = async <Accepted extends object, Result>(
  judged: (Accepted | DomainError)[],
  work: (accepted: Accepted[]) => Promise<Result[]>,
): Promise<(Result | DomainError)[]> => {
  const accepted = judged.filter((one): one is Accepted => !(one instanceof DomainError))
  const results = (await work(accepted))[Symbol.iterator]()
  return judged.map((one) => (one instanceof DomainError ? one : (results.next().value as Result)))
}

type Asked<Request> = { request: Request; trace: Trace; keep: Keep | undefined }

type Answer<Result> = { result: Result | DomainError } | { error: unknown }

type Waiting<Request, Result> = Asked<Request> & { answer: (answer: Answer<Result>) => void }

export type TogetherOptions<Source extends string> = {
  source: Source
  postgres: Pick<Postgres, 'transaction'>
  outbox: Pick<Outbox<Source>, 'append'>
  /** Called after a commit that holds messages. */
  committed: () => void
}

/** So many requests share a transaction at most. */
const mostAtOnce = 50

/**
 * Makes requests that come at the same moment share a transaction, and so its locks, its statements and its commit: those that
 * come while one is under way wait for the next. A request that is alone has a transaction of its own, at once. If one of
 * several makes the transaction fail, each is tried again by itself, unless the outcome is unknown.
 * @throws what `forAll` throws or gives as the request's refusal; `UnavailableError` when the database is away or the commit
 * unconfirmed
 */
export const createTogether = <Source extends string>({
  source,
  postgres,
  outbox,
  committed,
}: TogetherOptions<Source>) => {
  const groups = new Map<unknown, unknown>()

  const runAll = async <Request, Result>(forAll: ForAll<Source, Request, Result>, asked: Asked<Request>[]) => {
    const emitted: Emitted[] = []
    const results = await postgres.transaction(async (transaction) => {
      const members = asked.map(({ request, trace }) => ({
        request,
        emit: ((message) => void emitted.push({ message, trace })) satisfies Emit<Source>,
      }))
      const results = await forAll(transaction, members)
      outbox.append(transaction, emitted)
      for (const [at, { keep }] of asked.entries()) {
        if (keep && !(results[at] instanceof DomainError)) transaction.finishWith(keep(results[at]))
      }
      return results
    })
    if (emitted.length > 0) committed()
    return results
  }

  const createGroup = <Request, Result>(forAll: ForAll<Source, Request, Result>) => {
    const answerAll = async (waiting: Waiting<Request, Result>[]): Promise<void> => {
      try {
        const results = await runAll(forAll, waiting)
        for (const [at, { answer }] of waiting.entries()) answer({ result: results[at] as Result | DomainError })
      } catch (error) {
        if (waiting.length > 1 && (!isTransient(error) || isRolledBack(error))) {
          await Promise.all(waiting.map((alone) => answerAll([alone])))
        } else {
          for (const { answer } of waiting) answer({ error })
        }
      }
    }
    const join = createGroupCommit(answerAll, mostAtOnce)
    return async (asked: Asked<Request>): Promise<Result> => {
      let answered: Answer<Result> | undefined
      await join({ ...asked, answer: (given) => (answered = given) })
      if (answered && 'result' in answered && !(answered.result instanceof DomainError)) return answered.result
      throw answered && 'error' in answered ? answered.error : answered?.result
    }
  }

  return (trace: Trace, keep?: Keep): Together<Source> =>
    async <Request, Result>(forAll: ForAll<Source, Request, Result>, request: Request): Promise<Result> => {
      const group = (groups.get(forAll) ?? createGroup(forAll)) as (asked: Asked<Request>) => Promise<Result>
      groups.set(forAll, group)
      return traced(`${source} transaction`, 'internal', trace, (trace) => group({ request, trace, keep }))
    }
}
