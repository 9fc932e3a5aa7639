import { HTTPException } from 'hono/http-exception'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import {
  DomainError,
  ElsewhereError,
  OverloadedError,
  TimedOutError,
  TooManyAttemptsError,
  UnavailableError,
  isTransient,
} from '#platform/errors'

export type FieldError = { path: string; message: string }

/** An answer: the request does not fit its schema. */
export class InvalidInputError extends DomainError {
  readonly errors: FieldError[]

  constructor(errors: FieldError[]) {
    super('invalid-input', 'The request does not fit: see errors.')
    this.errors = errors
  }
}

export const unauthenticated = () =>
  new DomainError('unauthenticated', 'Sign in first: send Authorization: Bearer <token>.')

/** What a read answers, or null when it refuses: for a join, where what is not there is nothing. */
export const orNull = async <T>(read: Promise<T>): Promise<T | null> => {
  try {
    return await read
  } catch (error) {
    if (error instanceof DomainError) return null
    throw error
  }
}

/** RFC 9457, with `code` as the stable name that programs compare. */
export type Problem = {
  type: string
  title: string
  status: ContentfulStatusCode
  detail: string
  code: string
  errors?: FieldError[]
}

export type Failure = { problem: Problem; retryAfterSeconds?: number; fault: boolean }

/** The status and title of every code that a module or the BFF answers with. */
const answers: Record<string, [ContentfulStatusCode, string]> = {
  'invalid-input': [400, 'Invalid input'],
  'bad-consistency-token': [400, 'Bad consistency token'],
  unauthenticated: [401, 'Not signed in'],
  'bad-credentials': [401, 'Bad credentials'],
  forbidden: [403, 'Forbidden'],
  'not-found': [404, 'Not found'],
  'user-not-found': [404, 'User not found'],
  'order-not-found': [404, 'Order not found'],
  'product-not-found': [404, 'Product not found'],
  'payment-not-found': [404, 'Payment not found'],
  'settlement-not-found': [404, 'Settlement not found'],
  'checkout-not-found': [404, 'Checkout not found'],
  'email-taken': [409, 'Email taken'],
  'out-of-stock': [409, 'Out of stock'],
  'already-cancelled': [409, 'Already cancelled'],
  'not-refundable': [409, 'Not refundable'],
  'unknown-sku': [422, 'Unknown SKU'],
  'mixed-currencies': [422, 'Mixed currencies'],
  'too-expensive': [422, 'Too expensive'],
  'idempotency-key-reused': [422, 'Idempotency-Key reused'],
  'account-closed': [409, 'Account closed'],
  'already-resolved': [409, 'Already resolved'],
  'not-possible': [409, 'Not possible'],
  'not-handled': [409, 'Not handled'],
  'not-first': [409, 'Not first'],
  'too-old': [409, 'Too old'],
  undecodable: [409, 'Undecodable'],
  'method-not-allowed': [405, 'Method not allowed'],
  'body-too-slow': [408, 'Body too slow'],
  'too-large': [413, 'Too large'],
  'too-many-attempts': [429, 'Too many attempts'],
}

const problem = (status: ContentfulStatusCode, title: string, code: string, detail: string): Problem => ({
  type: `urn:bulkhead:problem:${code}`,
  title,
  status,
  detail,
  code,
})

/** What a client may know of an error; anything unexpected is a masked 500, and `fault` says that it belongs in the log. */
export const toFailure = (error: unknown): Failure => {
  if (error instanceof DomainError) {
    const [status, title] = answers[error.code] ?? [422, 'Refused']
    return {
      problem: {
        ...problem(status, title, error.code, error.message),
        ...(error instanceof InvalidInputError ? { errors: error.errors } : {}),
      },
      ...(error instanceof TooManyAttemptsError ? { retryAfterSeconds: error.retryAfterSeconds } : {}),
      fault: false,
    }
  }
  if (error instanceof HTTPException) return fromHttp(error)
  if (error instanceof OverloadedError) {
    const { message, retryAfterSeconds } = error
    return { problem: problem(503, 'Overloaded', 'overloaded', message), retryAfterSeconds, fault: false }
  }
  if (error instanceof ElsewhereError) {
    const { code, message, retryAfterSeconds } = error
    const title = code === 'module-not-hosted' ? 'Module not hosted' : 'Module not answering'
    return { problem: problem(503, title, code, message), retryAfterSeconds, fault: code === 'module-not-answering' }
  }
  if (error instanceof TimedOutError) {
    const { message, retryAfterSeconds } = error
    return { problem: problem(503, 'Timed out', 'timeout', message), retryAfterSeconds, fault: true }
  }
  if (isTransient(error)) {
    const retryAfterSeconds = error instanceof UnavailableError ? error.retryAfterSeconds : 1
    const detail = 'A service that this needs does not answer now. Try again.'
    return { problem: problem(503, 'Unavailable', 'unavailable', detail), retryAfterSeconds, fault: true }
  }
  return {
    problem: problem(
      500,
      'Internal error',
      'internal',
      'Something went wrong here; the log knows it by the Correlation-Id.',
    ),
    fault: true,
  }
}

const fromHttp = (error: HTTPException): Failure => {
  const status = error.status
  if (status === 400)
    return toFailure(new InvalidInputError([{ path: '', message: error.message || 'The body is not JSON.' }]))
  return { problem: problem(status, error.message, `http-${status}`, error.message), fault: status >= 500 }
}
