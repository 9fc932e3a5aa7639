import type { Context as HonoContext } from 'hono'
import { routePath } from 'hono/route'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { DomainError, violates } from '#platform/errors'
import { type IdempotencyKey, type StoredAnswer, idempotencyConstraint, keepAnswer } from '#platform/idempotency'
import type { Keep } from '#platform/messaging/outbox'
import type { HostedModule } from '#platform/module'
import type { SnapshotVersion } from '#platform/snapshots'
import type { Call } from './call.ts'
import { encodeConsistency } from './consistency.ts'
import type { Identity } from './identity.ts'
import { type Awaitable, awaitPreferred } from './prefer.ts'
import { toFailure } from './problems.ts'

/** What a command made, as it is answered. */
export type Answer = { status: ContentfulStatusCode; body: object; location?: string; changed: SnapshotVersion[] }

/** A command and its answer. */
export type Command<Result> = {
  /** Whose transaction has the effect, and so keeps the answer. */
  module: Pick<HostedModule<string>, 'findAnswer' | 'keepRefusal'>
  /** Runs the command, in a transaction that commits what `keep` makes of the result. */
  run: (keep?: Keep) => Promise<Result>
  answer: (result: Result) => Answer
}

export type Asked = { call: Call; identity: Identity; route: string; input: unknown }

/** What the request's `Idempotency-Key` stands for, if it has one. @throws InvalidInputError when it is malformed */
export const keyOf = ({ call, identity, route, input }: Asked): IdempotencyKey | undefined => {
  const key = call.idempotencyKey()
  if (key === undefined) return undefined
  const requestHash = new Bun.CryptoHasher('sha256').update(JSON.stringify(input)).digest('hex')
  return { userId: identity.userId, route, key, requestHash }
}

/**
 * Runs a command under a key: its answer commits with its effect, and whoever comes again with the key, later or at the same
 * moment, is given it. A refusal is kept too, a fault is not.
 * @throws DomainError `idempotency-key-reused`; what the command throws, unless it was a refusal
 */
export const answerOnce = async <Result>(key: IdempotencyKey, command: Command<Result>): Promise<StoredAnswer> => {
  const { module, run, answer } = command
  const earlier = await module.findAnswer(key)
  if (earlier) return earlier
  try {
    return toStored(answer(await run((result) => keepAnswer(key, toStored(answer(result as Result))))))
  } catch (error) {
    if (!violates(error, idempotencyConstraint)) await keepRefusal(module, key, error)
    const kept = await module.findAnswer(key)
    if (kept) return kept
    throw error
  }
}

type Asking<Result> = Omit<Asked, 'route'> &
  Command<Result> & {
    /** How what was begun ends, for a client that prefers to wait for that. */
    ending?: (id: string) => Awaitable<Answer>
  }

/** Answers a command over HTTP, once for each `Idempotency-Key`. @throws DomainError `idempotency-key-reused` */
export const once = async <Result>(
  c: HonoContext,
  { call, identity, input, ending, ...command }: Asking<Result>,
): Promise<Response> => {
  const key = keyOf({ call, identity, input, route: `${c.req.method} ${routePath(c)}` })
  const first = key ? await answerOnce(key, command) : toStored(command.answer(await command.run()))
  const id = first.status < 300 ? first.location?.split('/').at(-1) : undefined
  const ended = ending && id !== undefined ? await awaitPreferred(c, call.waits, ending(id)) : undefined
  return give(c, ended ? toStored(ended) : first)
}

const toStored = ({ status, body, location, changed }: Answer): StoredAnswer => ({
  status,
  body: JSON.stringify(body),
  location: location ?? null,
  consistency: encodeConsistency(changed),
})

/** Keeps what was refused for good; a fault may pass, and is nobody's decision. */
const keepRefusal = async (module: Command<unknown>['module'], key: IdempotencyKey, error: unknown): Promise<void> => {
  if (!(error instanceof DomainError)) return
  const { problem } = toFailure(error)
  await module.keepRefusal(key, {
    status: problem.status,
    body: JSON.stringify(problem),
    location: null,
    consistency: '',
  })
}

const give = (c: HonoContext, { status, body, location, consistency }: StoredAnswer): Response => {
  if (location !== null) c.header('Location', location)
  if (status < 400) c.header('Consistency-Token', consistency)
  const type = status < 400 ? 'application/json' : 'application/problem+json'
  return c.body(body, status as ContentfulStatusCode, { 'content-type': type })
}
