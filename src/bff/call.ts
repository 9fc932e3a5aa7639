import type { Context as HonoContext } from 'hono'
import type { Trace } from '#platform/messaging/message'
import type { News } from '#platform/news'
import type { SnapshotVersion } from '#platform/snapshots'
import { type OpenSpan, beginSpan } from '#platform/tracing'
import type { Context as OrdersContext } from '#modules/orders'
import type { Context as PaymentsContext } from '#modules/payments'
import { type Context as UsersContext, isSessionAlive } from '#modules/users'
import { awaitConsistency, decodeConsistency, encodeConsistency } from './consistency.ts'
import { addressOf, peerOf } from './address.ts'
import type { BffOptions } from './bff.ts'
import type { Identity } from './identity.ts'
import type { Load } from './load.ts'
import { InvalidInputError, unauthenticated } from './problems.ts'

/** One request of a client, whatever its transport: whose it is, which story it belongs to, and what it may reach. */
export type Call = {
  trace: Trace
  /** The request's own span, when it is traced. */
  span: OpenSpan | undefined
  readonly users: UsersContext
  readonly orders: OrdersContext
  readonly payments: PaymentsContext
  /** Who the request's token names, if it has one and it is valid; not yet whether the session still lives. */
  identify(): Promise<Identity | undefined>
  /**
   * Runs a query for the signed-in user while the session is looked up, in the same round trip.
   * @throws DomainError `unauthenticated` when there is no session or it has ended, whatever the query says
   */
  query<T>(run: (identity: Identity) => Promise<T>): Promise<T>
  /** The signed-in user, looked up before anything is changed. @throws DomainError `unauthenticated` */
  signedIn(): Promise<Identity>
  /** The request's `Idempotency-Key`, if it has one. @throws InvalidInputError when it is malformed */
  idempotencyKey(): string | undefined
  /** The address at the other end of the connection; undefined for a request that came by none. */
  peer(): string | undefined
  /** Where the request comes from, behind proxies of ours too; undefined when it came by no connection. */
  address(): string | undefined
  waits: Waits
  /** The versions that this request's commands made. */
  changed: SnapshotVersion[]
}

/** What a request that waits has to do with. */
export type Waits = {
  /** Where it has its place. */
  load: Load
  /** Aborts when the process stops. */
  stopping: AbortSignal
  /** Tells of what it waits for. */
  news: News
  /** So often it looks without having heard anything. */
  lookEveryMs?: number
}

export type Env = { Variables: { call: Call } }

/** Correlation ids that a client may choose: they travel in headers and logs. */
const correlationPattern = /^[\w.:+/=-]{1,128}$/

const ignored = () => undefined

/** What fails at once fails like what fails later. A read has one of these: `Promise.try` would take a microsecond more. */
const started = <T>(run: (identity: Identity) => Promise<T>, identity: Identity): Promise<T> => {
  try {
    return run(identity)
  } catch (error) {
    return Promise.reject(error)
  }
}

const idempotencyKeyPattern = /^[\x21-\x7e]{1,255}$/

const traceparentPattern = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

const traceOf = (c: HonoContext<Env>): Trace => {
  const given = c.req.header('correlation-id')
  const requestId = Bun.randomUUIDv7()
  const correlationId = given !== undefined && correlationPattern.test(given) ? given : requestId
  const traceparent = c.req.header('traceparent')
  if (traceparent === undefined || !traceparentPattern.test(traceparent))
    return { correlationId, causationId: requestId }
  return { correlationId, causationId: requestId, traceparent }
}

/** A class, since one is made for each request: an object with as many functions of its own would cost more than all they do. */
class RequestCall implements Call {
  readonly trace: Trace
  readonly span: OpenSpan | undefined
  readonly waits: Waits
  readonly changed: SnapshotVersion[] = []
  readonly #c: HonoContext<Env>
  readonly #options: BffOptions

  constructor(c: HonoContext<Env>, options: BffOptions, waits: Waits) {
    this.#c = c
    this.#options = options
    this.waits = waits
    this.trace = traceOf(c)
    this.span = beginSpan(c.req.method, 'server', this.trace)
    if (this.span) this.trace.traceparent = this.span.traceparent
  }

  get users() {
    return this.#options.modules.users.context(this.trace)
  }

  get orders() {
    return this.#options.modules.orders.context(this.trace)
  }

  get payments() {
    return this.#options.modules.payments.context(this.trace)
  }

  identify(): Promise<Identity | undefined> {
    const authorization = this.#c.req.header('authorization')
    if (authorization === undefined) return Promise.resolve(undefined)
    const [, token] = /^Bearer +(\S+)$/i.exec(authorization) ?? []
    return token ? this.#options.tokens.verify(token) : Promise.reject(unauthenticated())
  }

  async query<T>(run: (identity: Identity) => Promise<T>): Promise<T> {
    const identity = await this.identify()
    if (!identity) throw unauthenticated()
    const result = started(run, identity)
    // Whoever is signed out is told that and nothing of the result, which nobody may be listening to when it fails.
    result.catch(ignored)
    if (!(await isSessionAlive(this.#options.modules.users, identity))) throw unauthenticated()
    return result
  }

  async signedIn(): Promise<Identity> {
    const identity = await this.identify()
    if (!identity || !(await isSessionAlive(this.#options.modules.users, identity))) throw unauthenticated()
    return identity
  }

  idempotencyKey(): string | undefined {
    const key = this.#c.req.header('idempotency-key')
    if (key === undefined || idempotencyKeyPattern.test(key)) return key
    throw new InvalidInputError([{ path: 'Idempotency-Key', message: 'must have 1 to 255 visible ASCII characters' }])
  }

  peer(): string | undefined {
    return peerOf(this.#c)
  }

  address(): string | undefined {
    return addressOf(this.#c, this.#options.proxies)
  }
}

export const createCall = (c: HonoContext<Env>, options: BffOptions, waits: Waits): Call =>
  new RequestCall(c, options, waits)

export const consistencyTokenOf = (c: HonoContext<Env>): string | undefined => c.req.header('consistency-token')

/** Waits for the change that a `Consistency-Token` names. @throws as `awaitConsistency`; DomainError `unauthenticated` */
export const awaitChange = async (
  call: Call,
  token: string,
  { modules }: Pick<BffOptions, 'modules'>,
): Promise<void> => {
  // Who may not read is told so before anything is waited for; what is for sale anybody may read.
  if (decodeConsistency(token).some(({ thing }) => thing !== 'product')) await call.signedIn()
  await awaitConsistency(token, (name) => Object.values(modules).find((module) => module.name === name)?.snapshots)
}

export const consistencyOf = (call: Call): string => encodeConsistency(call.changed)
