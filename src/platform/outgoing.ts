import {
  ConsecutiveBreaker,
  ExponentialBackoff,
  TimeoutStrategy,
  circuitBreaker,
  handleAll,
  handleWhen,
  retry,
  timeout,
  wrap,
} from 'cockatiel'
import { durable } from './durable.ts'
import { messageOf } from './errors.ts'
import type { Log } from './log.ts'
import type { Trace } from './messaging/message.ts'
import { traceparentOf } from './tracing.ts'

export type OutgoingOptions = {
  /** What paths are appended to; it may have a path of its own. */
  baseUrl: string
  /** Who is called, for errors and logs. */
  name: string
  log: Log
  /** One try is given up after this long. */
  timeoutMs: number
  /** The call with all its tries and the waits between them is given up after this long. */
  deadlineMs?: number
  /** How often a call is tried again at most, the middle of the first wait, and the longest. */
  retries?: { max: number; firstMs: number; maxMs: number }
  /** After so many calls in a row without an answer, none is sent for `openMs`; then one, which decides. */
  breaker?: { calls: number; openMs: number }
}

export type OutgoingCall = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Begins with `/`; its query, if any, is encoded. */
  path: string
  /** Sent as JSON. */
  body?: unknown
  /** Sent as `Idempotency-Key`: says that the other side takes a repeat for the same call, so that it may be tried again. */
  idempotencyKey?: string
  /** The story that the call belongs to; sent as its W3C `traceparent`, and no more of it. */
  trace?: Trace
  headers?: Record<string, string>
  /** Ends the call, for a stop of the process. */
  signal?: AbortSignal
}

/**
 * What a call came to. `answered`: the other side decided, also when it refused; `body` is JSON as it came, undefined when
 * there was none. `unknown`: it was sent `tries` times and no try was answered, so it may have had its effect or not.
 * `not-sent`: this call has had no effect, because nothing of it left.
 */
export type Outcome =
  | { kind: 'answered'; status: number; body: unknown }
  | { kind: 'unknown'; error: Error; tries: number }
  | { kind: 'not-sent'; error: Error }

export type Outgoing = { call(call: OutgoingCall): Promise<Outcome> }

/** The caller ended the call; that says nothing about the other side. */
class EndedError extends Error {
  override readonly name = 'EndedError'
}

/**
 * JSON over HTTP to one other side. A try is answered by any status below 500 other than 429 with a body that is empty or
 * JSON; everything else (a reset, a timeout, 429, 5xx, a proxy's page) leaves its outcome open. A GET, and a call with an
 * idempotency key, is then tried again, after waits that grow exponentially with decorrelated jitter. Redirects are answers
 * and not followed.
 *
 * The breaker stands around the retries, not inside: a fault that a retry cures is no reason to stop calling. It counts
 * a call that was cut off by the deadline and does not count one that its `signal` ended.
 *
 * A refused connection is `unknown` too: the runtime may have met it when it sent anew, on another connection, what
 * had already arrived.
 */
export const createOutgoing = (options: OutgoingOptions): Outgoing => {
  const { name, log, timeoutMs, deadlineMs = 10_000 } = options
  const { retries = { max: 4, firstMs: 100, maxMs: 2_000 }, breaker = { calls: 5, openMs: 1_000 } } = options
  const baseUrl = options.baseUrl.replace(/\/+$/, '')

  const deadline = timeout(deadlineMs, TimeoutStrategy.Aggressive)
  const oneTry = timeout(timeoutMs, TimeoutStrategy.Cooperative)
  const again = retry(handleAll, {
    maxAttempts: retries.max,
    backoff: new ExponentialBackoff({ initialDelay: retries.firstMs, maxDelay: retries.maxMs }),
  })
  const circuit = circuitBreaker(
    handleWhen((error) => !(error instanceof EndedError)),
    { halfOpenAfter: breaker.openMs, breaker: new ConsecutiveBreaker(breaker.calls) },
  )
  circuit.onBreak((reason) =>
    log.warn(
      { name, openMs: breaker.openMs, error: 'error' in reason ? messageOf(reason.error) : '' },
      'calls are held',
    ),
  )
  circuit.onReset(() => log.info({ name }, 'calls are sent again'))
  const once = wrap(deadline, circuit, oneTry)
  const repeatedly = wrap(deadline, circuit, again, oneTry)

  const send = async (url: string, request: RequestInit): Promise<Outcome> => {
    const response = await durable('call.send', () => fetch(url, request))
    const text = await readText(response, name)
    const { status } = response
    if (status >= 500 || status === 429) throw new Error(`${name} answered ${status}`)
    return { kind: 'answered', status, body: text === '' ? undefined : parseJson(text, `${name} answered ${status}`) }
  }

  return {
    call: async (call) => {
      const request = requestOf(call)
      const policy = call.method === 'GET' || call.idempotencyKey !== undefined ? repeatedly : once
      let tries = 0
      let fault: Error | undefined
      try {
        return await policy.execute(async ({ signal }) => {
          // The waits between tries do not hear the signal.
          if (signal.aborted) throw fault ?? new EndedError(`the call of ${name} was ended`)
          tries += 1
          try {
            return await send(`${baseUrl}${call.path}`, { ...request, signal })
          } catch (error) {
            if (call.signal?.aborted) throw new EndedError(`the call of ${name} was ended`, { cause: error })
            fault = signal.aborted ? new Error(`${name} did not answer in time`, { cause: error }) : asError(error)
            throw fault
          }
        }, call.signal)
      } catch (cause) {
        const reason = call.signal?.aborted ? 'the call was ended' : messageOf(cause)
        if (tries === 0) return { kind: 'not-sent', error: new Error(`${name} was not called: ${reason}`, { cause }) }
        return { kind: 'unknown', error: fault ?? new Error(`${name} did not answer: ${reason}`, { cause }), tries }
      }
    },
  }
}

/** An answer is a few hundred bytes; one without end would fill the memory. */
const maxAnswerBytes = 1_000_000

const readText = async (response: Response, name: string): Promise<string> => {
  const decoder = new TextDecoder()
  let text = ''
  let length = 0
  for await (const bytes of response.body ?? []) {
    length += bytes.length
    if (length > maxAnswerBytes) throw new Error(`${name} answered ${response.status} with too much`)
    text += decoder.decode(bytes, { stream: true })
  }
  return text + decoder.decode()
}

const requestOf = ({ method, body, idempotencyKey, trace, headers }: OutgoingCall): RequestInit => ({
  method,
  redirect: 'manual',
  headers: {
    accept: 'application/json',
    ...(body !== undefined && { 'content-type': 'application/json' }),
    ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
    ...(trace !== undefined && { traceparent: traceparentOf(trace, Bun.randomUUIDv7()) }),
    ...headers,
  },
  ...(body !== undefined && { body: JSON.stringify(body) }),
})

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(messageOf(error)))

const parseJson = (text: string, what: string): unknown => {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Error(`${what} with something other than JSON`, { cause })
  }
}
