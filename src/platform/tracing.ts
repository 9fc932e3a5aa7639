import type { Trace } from './messaging/message.ts'

export type SpanKind = 'server' | 'client' | 'producer' | 'consumer' | 'internal'

export type Attributes = Record<string, string | number | undefined>

/** A span under way. */
export type OpenSpan = {
  /** Names the span to what it causes. */
  traceparent: string
  rename(name: string): void
  /** Never personal data, and no secret. */
  set(attributes: Attributes): void
  /** `failed` is a fault; only its kind is told, for its message may hold anything. */
  end(failed?: unknown): void
}

/** Begins a span below a W3C traceparent, or a trace of its own. */
export type BeginSpan = (name: string, kind: SpanKind, traceparent: string | undefined) => OpenSpan

let begin: BeginSpan | undefined

/** Traces from now on with `given`, or no longer. */
export const traceWith = (given: BeginSpan | undefined): void => {
  begin = given
}

/** Whether spans are begun at all. */
export const tracing = (): boolean => begin !== undefined

/**
 * Begins a span below what `trace` names. Undefined when nobody traces, which is all that tracing costs then: tell a span with
 * `span?.set(...)`, so that not even its attributes are made.
 */
export const beginSpan = (name: string, kind: SpanKind, trace: Trace): OpenSpan | undefined => {
  if (begin === undefined) return undefined
  const span = begin(name, kind, trace.traceparent)
  span.set({ 'bulkhead.correlation_id': trace.correlationId })
  return span
}

const untraced = (correlationId: string, id: string): string => {
  const hex = correlationId.replaceAll('-', '').toLowerCase()
  const traceId = /^[0-9a-f]{32}$/.test(hex) ? hex : new Bun.CryptoHasher('md5').update(correlationId).digest('hex')
  return `00-${traceId}-${id.slice(19).replace('-', '')}-00`
}

/**
 * What a message or a call to the outside names as its cause, in W3C form. When nobody traces and nobody did before: not
 * sampled, of one trace for the whole story, and with the end of `id`, a UUID, as its span.
 */
export const traceparentOf = ({ traceparent, correlationId }: Trace, id: string): string =>
  traceparent ?? untraced(correlationId, id)

/** The story as what is done in the span carries it on. */
export const within = (span: OpenSpan | undefined, trace: Trace): Trace =>
  span === undefined ? trace : { ...trace, traceparent: span.traceparent }

/** Runs work in a span; `work` is given the story to carry on. */
export const traced = async <T>(
  name: string,
  kind: SpanKind,
  trace: Trace,
  work: (trace: Trace, span: OpenSpan | undefined) => Promise<T>,
): Promise<T> => {
  const span = beginSpan(name, kind, trace)
  if (span === undefined) return work(trace, undefined)
  try {
    const result = await work(within(span, trace), span)
    span.end()
    return result
  } catch (error) {
    span.end(error)
    throw error
  }
}
