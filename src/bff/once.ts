import type { Context as HonoContext } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { DomainError, violates } from '#platform/errors'
import { type IdempotencyKey, type StoredAnswer, idempotencyConstraint, keepAnswer } from '#platform/idempotency'
import type { Trace } from '#platform/messaging/message'
import type { Keep } from '#platform/messaging/outbox'
import type { SnapshotVersion } from '#platform/snapshots'
import type { Call, Env } from './call.ts'
import { encodeConsistency } from './consistency.ts'
import type { Identity } from './identity.ts'
import { InvalidInputError, toFailure } from './problems.ts'

/** What a command made, as it is answered. */
export type Answer = { status: ContentfulStatusCode; body: object; location?: string; changed: SnapshotVersion[] }

type Hosted<Context> = {
  context(trace: Trace, keep?: Keep): Context
  findAnswer(key: IdempotencyKey): Promise<StoredAnswer | undefined>
  keepRefusal(key: IdempotencyKey, answer: StoredAnswer): Promise<void>
}

export type Once<Context, Result> = {
  call: Call
  identity: Identity
  module: Hosted<Context>
  /** What the request asks for, besides its path. */
  input: unknown
  run: (context: Context) => Promise<Result>
  answer: (result: Result) => Answer
}

/**
 * Runs a command and answers it. With an `Idempotency-Key` the answer commits with the effect, and every later request with
 * the key is given it again; a refusal is kept too, a fault is not.
 * @throws DomainError `idempotency-key-reused`
 */
export const once = async <Context, Result>(c: HonoContext<Env>, options: Once<Context, Result>): Promise<Response> => {
  const { call, module, run, answer } = options
  const key = keyOf(c, options)
  if (!key) return give(c, toStored(answer(await run(module.context(call.trace)))))
  const earlier = await module.findAnswer(key)
  if (earlier) return give(c, earlier)
  try {
    const keep: Keep = (result) => keepAnswer(key, toStored(answer(result as Result)))
    return give(c, toStored(answer(await run(module.context(call.trace, keep)))))
  } catch (error) {
    if (!violates(error, idempotencyConstraint)) await keepRefusal(module, key, error)
    const kept = await module.findAnswer(key)
    if (kept) return give(c, kept)
    throw error
  }
}

const keyPattern = /^[\x21-\x7e]{1,255}$/

const keyOf = (
  c: HonoContext<Env>,
  { identity, input }: Pick<Once<unknown, unknown>, 'identity' | 'input'>,
): IdempotencyKey | undefined => {
  const key = c.req.header('idempotency-key')
  if (key === undefined) return undefined
  if (!keyPattern.test(key)) {
    throw new InvalidInputError([{ path: 'Idempotency-Key', message: 'must have 1 to 255 visible ASCII characters' }])
  }
  const asked = JSON.stringify([c.req.path, input])
  const requestHash = new Bun.CryptoHasher('sha256').update(asked).digest('hex')
  return { userId: identity.userId, route: `${c.req.method} ${c.req.routePath}`, key, requestHash }
}

const toStored = ({ status, body, location, changed }: Answer): StoredAnswer => ({
  status,
  body: JSON.stringify(body),
  location: location ?? null,
  consistency: encodeConsistency(changed),
})

/** Keeps what was refused for good; what may succeed later, or was nobody's to decide, is not kept. */
const keepRefusal = async (module: Hosted<unknown>, key: IdempotencyKey, error: unknown): Promise<void> => {
  if (!(error instanceof DomainError)) return
  const { problem } = toFailure(error)
  await module.keepRefusal(key, {
    status: problem.status,
    body: JSON.stringify(problem),
    location: null,
    consistency: '',
  })
}

const give = (c: HonoContext<Env>, { status, body, location, consistency }: StoredAnswer): Response => {
  if (location !== null) c.header('Location', location)
  if (status < 400) c.header('Consistency-Token', consistency)
  const type = status < 400 ? 'application/json' : 'application/problem+json'
  return c.body(body, status as ContentfulStatusCode, { 'content-type': type })
}
