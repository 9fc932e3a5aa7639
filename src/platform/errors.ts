/** An answer, not a fault: the request was understood and refused. The BFF shows `code` and `message` to the client. */
export class DomainError extends Error {
  override readonly name = 'DomainError'
  readonly code: string

  /** `code` is kebab-case and public; `message` is one sentence that a client may read. */
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** What `work` gives, or the refusal that it throws. */
export const orRefusal = <T>(work: () => T): T | DomainError => {
  try {
    return work()
  } catch (error) {
    if (error instanceof DomainError) return error
    throw error
  }
}

/** An answer: this was tried too often and may be tried again after `retryAfterSeconds`. */
export class TooManyAttemptsError extends DomainError {
  readonly retryAfterSeconds: number

  constructor(message: string, retryAfterSeconds: number) {
    super('too-many-attempts', message)
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** A service that this process needs does not answer now; the same request may succeed later. */
export class UnavailableError extends Error {
  override readonly name: string = 'UnavailableError'
  readonly retryAfterSeconds: number

  /** `what` names the service and what it was needed for; it is public. */
  constructor(what: string, options: { cause?: unknown; retryAfterSeconds?: number } = {}) {
    super(what, { cause: options.cause })
    this.retryAfterSeconds = options.retryAfterSeconds ?? 1
  }
}

/** There is more to do than can be done: nothing was begun, and the same request may succeed later. The message is public. */
export class OverloadedError extends UnavailableError {
  override readonly name = 'OverloadedError'
}

/**
 * A module that this process does not host could not be asked: nobody is known who hosts it (`module-not-hosted`), or they do
 * not answer (`module-not-answering`). Code and message are public.
 */
export class ElsewhereError extends UnavailableError {
  override readonly name = 'ElsewhereError'
  readonly code: 'module-not-hosted' | 'module-not-answering'

  constructor(code: ElsewhereError['code'], message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.code = code
  }
}

/** It took too long, and whether it will still have its effect is not known. The message is public. */
export class TimedOutError extends UnavailableError {
  override readonly name = 'TimedOutError'
}

/** A setting or a state of the environment that forbids the start; the message says what to do. */
export class StartError extends Error {
  override readonly name = 'StartError'
}

/** The chain of an error and its causes, outermost first. */
function* causes(error: unknown): Generator {
  for (let current = error, depth = 0; current != null && depth < 10; depth += 1) {
    yield current
    current = current instanceof Error ? current.cause : undefined
  }
}

const codeOf = (error: unknown): string | undefined =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined

/** Whether Postgres refused a statement because of the named constraint; looks through wrapping errors. */
export const violates = (error: unknown, constraint: string): boolean => {
  for (const cause of causes(error)) {
    if (typeof cause === 'object' && cause !== null && 'constraint_name' in cause) {
      if (cause.constraint_name === constraint) return true
    }
  }
  return false
}

const connectionCodes = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
])

/** SQLSTATE classes after which the same transaction may succeed: connection, rollback, resources, shutdown, lock not available. */
const transientStates = /^(08...|40...|53...|57P0[0-3]|55P03)$/

const unknownAuthority = 'comes from no CA that is trusted here: set TLS_CA_FILE to the certificates of those that are'

const certificateCodes = new Map([
  ['SELF_SIGNED_CERT_IN_CHAIN', unknownAuthority],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', unknownAuthority],
  ['UNABLE_TO_GET_ISSUER_CERT', unknownAuthority],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', unknownAuthority],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', unknownAuthority],
  ['CERT_SIGNATURE_FAILURE', unknownAuthority],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'is for another host: connect by a name that is in it'],
  ['CERT_HAS_EXPIRED', 'has expired'],
  ['CERT_NOT_YET_VALID', 'is not valid yet'],
])

/** What is wrong with the certificate that a server showed, to follow "its certificate"; undefined when that is not the fault. */
export const certificateFault = (error: unknown): string | undefined => {
  for (const cause of causes(error)) {
    const fault = certificateCodes.get(codeOf(cause) ?? '')
    if (fault !== undefined) return `${fault} (${messageOf(cause)})`
  }
  return undefined
}

/**
 * Whether the fault lies with a service and not with the message or request: retrying later may cure it. A certificate that
 * ran out while messages are handled is replaced some time, and the messages wait for it.
 */
export const isTransient = (error: unknown): boolean => {
  for (const cause of causes(error)) {
    if (cause instanceof UnavailableError) return true
    const code = codeOf(cause)
    if (code !== undefined && (connectionCodes.has(code) || transientStates.test(code))) return true
  }
  return certificateFault(error) !== undefined
}

/** Whether a transaction has certainly been rolled back, by a deadlock or since it waited too long for a lock. */
export const isRolledBack = (error: unknown): boolean => {
  const chain = [...causes(error)]
  if (chain.some((cause) => cause instanceof UnavailableError)) return false
  return chain.some((cause) => /^(40001|40P01|55P03)$/.test(codeOf(cause) ?? ''))
}

/** What an error says, without the values of a statement that failed: these may be anybody's name, and messages are logged. */
export const messageOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replace(/\nparams: [^]*$/, '')
