import type { DeadLetterStatus } from './messaging/dead-letter.ts'
import type { Run, SqlRow } from './postgres.ts'
import type { Input, SagaStatus } from './saga/definition.ts'

/** A message of a story: `waiting` in the outbox of its sender, or `sent`. */
export type FlowMessage = {
  id: string
  type: string
  source: string
  topic: string
  key: string
  causationId: string
  at: string
  state: 'waiting' | 'sent'
}

/** What a consumer of this module made of a message. */
export type FlowHandling = {
  consumer: string
  message: FlowMessage
  at: string
  outcome: 'applied' | DeadLetterStatus
  /** Why it is held. */
  error: string | null
}

/** Work that fell due, or will: a timer, or a call to the outside; `emitted` are the ids of the messages that came of it. */
export type FlowTimer = {
  kind: string
  key: string
  isCall: boolean
  causationId: string
  setAt: string
  /** When it ended, or falls due. */
  at: string
  outcome: 'waiting' | 'fired' | 'cancelled'
  attempts: number
  emitted: string[]
}

/** What a saga heard: how a step of it ended, or what began it, woke it or was asked by an operator. */
export type FlowHeard = { step: string; outcome: string; detail: string | null }

/** One transaction of a saga, with what it heard. */
export type FlowTransition = {
  sagaId: string
  name: string
  version: number
  causationId: string | null
  at: string
  status: SagaStatus
  heard: FlowHeard[]
}

/** What one module knows of a story, out of its own tables. */
export type FlowPart = {
  module: string
  consumers: { name: string; topic: string; types: string[] }[]
  messages: FlowMessage[]
  handlings: FlowHandling[]
  timers: FlowTimer[]
  transitions: FlowTransition[]
  /** Whether there was more of something than is told. */
  truncated: boolean
}

/** So many rows of each kind are told at most, the oldest first. */
const most = 1_000

const statements = {
  waiting: `select message_id, type, source, topic, key, causation_id, occurred_at from outbox
    where correlation_id = $1 order by id limit ${most}`,
  sent: `select message_id, type, source, topic, key, causation_id, occurred_at from sent_commands
    where correlation_id = $1 order by message_id limit ${most}`,
  handled: `select consumer, message_id, type, source, key, causation_id, occurred_at, received_at from inbox
    where correlation_id = $1 order by received_at limit ${most}`,
  held: `select consumer, topic, key, message_id, type, headers, status, error, parked_at from dead_letters
    where coalesce(headers ->> 'ce_correlationid', message_id::text) = $1 order by place limit ${most}`,
  timers: `select kind, key, causation_id, set_at, due_at as at, 'waiting' as outcome, attempts, null as emitted from timers
    where correlation_id = $1 order by set_at limit ${most}`,
  ended: `select kind, key, causation_id, set_at, ended_at as at, outcome, attempts, emitted from ended_timers
    where correlation_id = $1 order by id limit ${most}`,
  transitions: `select sagas.id, name, history.version, history.causation_id, at, history.status, heard
    from sagas join saga_history as history on saga_id = sagas.id
    where correlation_id = $1 order by at, history.version limit ${most}`,
}

export type FlowOptions = {
  module: string
  run: Run
  consumers: FlowPart['consumers']
  /** The kinds of timers that are calls to the outside. */
  calls: string[]
}

/**
 * Tells what the module's own tables hold of the story with this correlation id: what it sent and handled, its timers, calls
 * and sagas. Finds nothing older than the inbox's retention.
 */
export const createFlow =
  ({ module, run, consumers, calls }: FlowOptions) =>
  async (correlationId: string): Promise<FlowPart> => {
    const found = await Promise.all(Object.values(statements).map((statement) => run(statement, [correlationId])))
    const [waiting = [], sent = [], handled = [], held = [], timers = [], ended = [], transitions = []] = found
    return {
      module,
      consumers,
      messages: [
        ...waiting.map((row) => toMessage(row, 'waiting', text(row, 'topic'))),
        ...sent.map((row) => toMessage(row, 'sent', text(row, 'topic'))),
      ],
      handlings: toHandlings(module, handled, held),
      timers: [...ended, ...timers].map((row) => toTimer(row, calls)),
      transitions: transitions.map(toTransition),
      truncated: found.some((rows) => rows.length === most),
    }
  }

const text = (row: SqlRow, column: string): string => String(row[column])

const time = (row: SqlRow, column: string): string => new Date(text(row, column)).toISOString()

const toMessage = (row: SqlRow, state: FlowMessage['state'], topic: string): FlowMessage => ({
  id: text(row, 'message_id'),
  type: text(row, 'type'),
  source: text(row, 'source'),
  topic,
  key: text(row, 'key'),
  causationId: text(row, 'causation_id'),
  at: text(row, 'occurred_at'),
  state,
})

/** A message that is held is in the inbox too, unless nothing could be read of it. */
const toHandlings = (module: string, handled: SqlRow[], held: SqlRow[]): FlowHandling[] => {
  const idOf = (row: SqlRow) => `${text(row, 'consumer')} ${text(row, 'message_id')}`
  const letters = new Map(held.map((row) => [idOf(row), row]))
  const known = handled.map((row): FlowHandling => {
    const letter = letters.get(idOf(row))
    letters.delete(idOf(row))
    const topic = text(row, 'consumer').slice(module.length + 1)
    return {
      consumer: text(row, 'consumer'),
      message: toMessage(row, 'sent', topic),
      at: time(row, 'received_at'),
      outcome: letter ? (text(letter, 'status') as DeadLetterStatus) : 'applied',
      error: letter ? text(letter, 'error') : null,
    }
  })
  return [...known, ...[...letters.values()].map(toHeld)]
}

const toHeld = (row: SqlRow): FlowHandling => {
  const headers = JSON.parse(text(row, 'headers')) as Record<string, string>
  const parkedAt = time(row, 'parked_at')
  return {
    consumer: text(row, 'consumer'),
    message: {
      id: text(row, 'message_id'),
      type: String(row['type'] ?? 'unknown'),
      source: (headers['ce_source'] ?? 'unknown').replace(/^\/modules\//, ''),
      topic: text(row, 'topic'),
      key: text(row, 'key'),
      causationId: headers['ce_causationid'] ?? 'unknown',
      at: headers['ce_time'] ?? parkedAt,
      state: 'sent',
    },
    at: parkedAt,
    outcome: text(row, 'status') as DeadLetterStatus,
    error: text(row, 'error'),
  }
}

const toTimer = (row: SqlRow, calls: string[]): FlowTimer => ({
  kind: text(row, 'kind'),
  key: text(row, 'key'),
  isCall: calls.includes(text(row, 'kind')),
  causationId: text(row, 'causation_id'),
  setAt: time(row, 'set_at'),
  at: time(row, 'at'),
  outcome: text(row, 'outcome') as FlowTimer['outcome'],
  attempts: Number(row['attempts']),
  emitted: row['emitted'] === null ? [] : (JSON.parse(text(row, 'emitted')) as string[]),
})

const toTransition = (row: SqlRow): FlowTransition => ({
  sagaId: text(row, 'id'),
  name: text(row, 'name'),
  version: Number(row['version']),
  causationId: row['causation_id'] === null ? null : text(row, 'causation_id'),
  at: time(row, 'at'),
  status: text(row, 'status') as SagaStatus,
  heard: (JSON.parse(text(row, 'heard')) as Input[]).map(toHeard),
})

const toHeard = (input: Input): FlowHeard => {
  switch (input.type) {
    case 'started':
      return { step: 'start', outcome: 'started', detail: null }
    case 'outcome': {
      const { step, outcome } = input
      return { step, outcome: outcome.is, detail: 'error' in outcome ? (outcome.error?.message ?? null) : null }
    }
    case 'timeout':
      return { step: input.step, outcome: 'timed-out', detail: `${input.phase}, try ${input.attempt}` }
    case 'retry':
    case 'skip':
    case 'compensate':
      return { step: 'operator', outcome: input.type, detail: `asked by ${input.by}` }
  }
}
