import {
  ROOT_CONTEXT,
  SpanKind as Kind,
  type Span,
  SpanStatusCode,
  TraceFlags,
  isSpanContextValid,
  trace,
} from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { type BeginSpan, type OpenSpan, type SpanKind, traceWith } from './tracing.ts'

const kinds: Record<SpanKind, Kind> = {
  server: Kind.SERVER,
  client: Kind.CLIENT,
  producer: Kind.PRODUCER,
  consumer: Kind.CONSUMER,
  internal: Kind.INTERNAL,
}

const traceparentPattern = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/

const contextOf = (traceparent: string | undefined) => {
  const [, traceId = '', spanId = '', flags = '0'] = traceparentPattern.exec(traceparent ?? '') ?? []
  const parent = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  return isSpanContextValid(parent) ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT
}

const open = (span: Span): OpenSpan => {
  const { traceId, spanId, traceFlags } = span.spanContext()
  const flags = (traceFlags & TraceFlags.SAMPLED).toString(16).padStart(2, '0')
  return {
    traceparent: `00-${traceId}-${spanId}-${flags}`,
    rename: (name) => void span.updateName(name),
    set: (attributes) => void span.setAttributes(attributes),
    end: (failed) => {
      if (failed !== undefined) {
        const type = failed instanceof Error ? failed.name : 'unknown'
        span.setAttribute('error.type', type).setStatus({ code: SpanStatusCode.ERROR })
      }
      span.end()
    },
  }
}

/**
 * Begins to trace this process: spans go to `<endpoint>/v1/traces` by OTLP over HTTP, in batches, and are dropped when nobody
 * takes them. What a caller does not sample is not told. `stop` sends what is left, and gives up after `stopMs`.
 */
export const startTracing = (endpoint: string): { stop: (stopMs?: number) => Promise<void> } => {
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/+$/, '')}/v1/traces`, timeoutMillis: 5_000 })
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'bulkhead' }),
    spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 1_000 })],
  })
  const tracer = provider.getTracer('bulkhead')
  const begin: BeginSpan = (name, kind, traceparent) =>
    open(tracer.startSpan(name, { kind: kinds[kind] }, contextOf(traceparent)))
  traceWith(begin)
  return {
    stop: async (stopMs = 2_000) => {
      traceWith(undefined)
      await Promise.race([provider.shutdown().catch(() => undefined), Bun.sleep(stopMs)])
    },
  }
}
