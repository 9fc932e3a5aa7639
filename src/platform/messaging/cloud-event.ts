import type { Received, Trace } from './message.ts'

/** A message as its outbox row holds it and the relay sends it. */
export type Envelope = {
  id: string
  topic: string
  key: string
  type: string
  source: string
  subject: string
  sequence: number | undefined
  time: string
  trace: Trace
  /** The JSON of the data. */
  value: string
}

export type KafkaHeaders = Record<string, string | Buffer | (string | Buffer)[] | undefined>

/** The Kafka binary mode of CloudEvents 1.0: context attributes as `ce_` headers, the data as the value. */
export const toHeaders = (envelope: Envelope): Record<string, string> => {
  const headers: Record<string, string> = {
    ce_specversion: '1.0',
    ce_id: envelope.id,
    ce_type: envelope.type,
    ce_source: `/modules/${envelope.source}`,
    ce_subject: envelope.subject,
    ce_time: envelope.time,
    ce_correlationid: envelope.trace.correlationId,
    ce_causationid: envelope.trace.causationId,
    'content-type': 'application/json',
  }
  if (envelope.sequence !== undefined) headers['ce_sequence'] = String(envelope.sequence)
  if (envelope.trace.traceparent !== undefined) headers['traceparent'] = envelope.trace.traceparent
  return headers
}

/** A record that is no CloudEvent of ours; parked, since no retry can cure it. */
export class UndecodableError extends Error {
  override readonly name = 'UndecodableError'
}

/** The headers of a record as text; a header that is given twice keeps its first value. */
export const headerTexts = (headers: KafkaHeaders | undefined): Record<string, string> => {
  const texts: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers ?? {})) {
    const first = Array.isArray(value) ? value[0] : value
    if (first !== undefined) texts[name] = String(first)
  }
  return texts
}

export type RawRecord = { topic: string; key: string; headers: Record<string, string>; value: Buffer }

const required = (headers: Record<string, string>, name: string): string => {
  const value = headers[name]
  if (!value) throw new UndecodableError(`The header ${name} is missing.`)
  return value
}

/**
 * Reads a record's CloudEvents headers and parses its JSON value; unknown headers are ignored.
 * @throws UndecodableError naming the header or the JSON fault.
 */
export const decodeRecord = ({ key, headers, value }: RawRecord): Received => {
  const version = required(headers, 'ce_specversion')
  if (version !== '1.0') throw new UndecodableError(`CloudEvents version ${version} is not 1.0.`)
  const sequence = headers['ce_sequence']
  if (sequence !== undefined && !sequencePattern.test(sequence)) {
    throw new UndecodableError(`The header ce_sequence is not a positive integer: ${sequence}`)
  }
  const id = required(headers, 'ce_id')
  if (!uuidPattern.test(id)) throw new UndecodableError(`The header ce_id is not a UUID: ${id}`)
  const time = new Date(required(headers, 'ce_time'))
  if (Number.isNaN(time.getTime()))
    throw new UndecodableError(`The header ce_time is not a time: ${headers['ce_time']}`)
  const traceparent = headers['traceparent']
  return {
    id,
    type: required(headers, 'ce_type'),
    source: required(headers, 'ce_source'),
    subject: required(headers, 'ce_subject'),
    key,
    sequence: sequence === undefined ? undefined : Number(sequence),
    time,
    trace: {
      correlationId: headers['ce_correlationid'] ?? id,
      causationId: id,
      ...(traceparent === undefined ? {} : { traceparent }),
    },
    data: parseJson(value),
  }
}

/** What can be read of the headers of a record that cannot be decoded. */
export const glimpse = (headers: Record<string, string>): { id: string | undefined; sequence: number | undefined } => {
  const [id = '', sequence = ''] = [headers['ce_id'], headers['ce_sequence']]
  return {
    id: uuidPattern.test(id) ? id.toLowerCase() : undefined,
    sequence: sequencePattern.test(sequence) ? Number(sequence) : undefined,
  }
}

const sequencePattern = /^[1-9]\d{0,15}$/

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

// Fatal, since bytes that are replaced by U+FFFD would pass for data.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const parseJson = (value: Buffer): unknown => {
  try {
    return JSON.parse(utf8.decode(value))
  } catch (error) {
    throw new UndecodableError('The value is not JSON in UTF-8.', { cause: error })
  }
}
