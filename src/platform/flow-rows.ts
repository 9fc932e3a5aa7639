import type { FlowHandling, FlowHeard, FlowMessage, FlowTimer, FlowTransition } from './flow.ts'
import type { DeadLetterStatus } from './messaging/dead-letter.ts'
import type { Input, SagaStatus } from './saga/definition.ts'

/** A row as JSON. */
export type FlowRow = Record<string, unknown>

const text = (row: FlowRow, column: string): string => String(row[column])

const time = (row: FlowRow, column: string): string => new Date(text(row, column)).toISOString()

export const toMessage = (row: FlowRow, unsent: Set<string>): FlowMessage => ({
  id: text(row, 'message_id'),
  type: text(row, 'type'),
  topic: text(row, 'topic'),
  key: text(row, 'key'),
  causationId: text(row, 'causation_id'),
  at: text(row, 'occurred_at'),
  state: unsent.has(text(row, 'message_id')) ? 'waiting' : 'sent',
})

/** A message that is held is in the inbox too, unless nothing could be read of it. */
export const toHandlings = (handled: FlowRow[], held: FlowRow[]): FlowHandling[] => {
  const idOf = (row: FlowRow) => `${text(row, 'consumer')} ${text(row, 'message_id')}`
  const letters = new Map(held.map((row) => [idOf(row), row]))
  const applied = handled
    .filter((row) => !letters.has(idOf(row)))
    .map((row): FlowHandling => ({
      consumer: text(row, 'consumer'),
      messageId: text(row, 'message_id'),
      at: time(row, 'received_at'),
      outcome: 'applied',
      held: null,
    }))
  return [...applied, ...held.map(toHeld)]
}

const toHeld = (row: FlowRow): FlowHandling => {
  const headers = row['headers'] as Record<string, string>
  const [messageId, at] = [text(row, 'message_id'), time(row, 'parked_at')]
  return {
    consumer: text(row, 'consumer'),
    messageId,
    at,
    outcome: text(row, 'status') as DeadLetterStatus,
    held: {
      id: messageId,
      type: row['type'] === null ? 'unknown' : text(row, 'type'),
      source: (headers['ce_source'] ?? 'unknown').replace(/^\/modules\//, ''),
      topic: text(row, 'topic'),
      key: text(row, 'key'),
      causationId: headers['ce_causationid'] ?? 'unknown',
      at: headers['ce_time'] ?? at,
      error: text(row, 'error'),
    },
  }
}

export const toTimer = (row: FlowRow, calls: string[]): FlowTimer => ({
  kind: text(row, 'kind'),
  key: text(row, 'key'),
  isCall: calls.includes(text(row, 'kind')),
  causationId: text(row, 'causation_id'),
  setAt: time(row, 'set_at'),
  at: time(row, 'at'),
  outcome: text(row, 'outcome') as FlowTimer['outcome'],
  attempts: Number(row['attempts']),
  emitted: (row['emitted'] ?? []) as string[],
})

export const toTransition = (row: FlowRow): FlowTransition => ({
  sagaId: text(row, 'id'),
  name: text(row, 'name'),
  version: Number(row['version']),
  causationId: row['causation_id'] === null ? null : text(row, 'causation_id'),
  at: time(row, 'at'),
  status: text(row, 'status') as SagaStatus,
  heard: (row['heard'] as Input[]).map(toHeard),
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
