import { type FlowRow, toHandlings, toMessage, toTimer, toTransition } from './flow-rows.ts'
import type { DeadLetterStatus } from './messaging/dead-letter.ts'
import type { Run } from './postgres.ts'
import type { SagaStatus } from './saga/definition.ts'

/** A message that this module has emitted: `waiting` in the outbox, or `sent`. */
export type FlowMessage = {
  id: string
  type: string
  topic: string
  key: string
  causationId: string
  at: string
  state: 'waiting' | 'sent'
}

/** What a consumer of this module made of a message. */
export type FlowHandling = {
  consumer: string
  messageId: string
  at: string
  outcome: 'applied' | DeadLetterStatus
  /** The message, and why it is held, when it is or was. */
  held: (Omit<FlowMessage, 'state'> & { source: string; error: string }) | null
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

const selections = {
  emitted: `select message_id, type, topic, key, causation_id, occurred_at from emitted_messages
    where correlation_id = $1 order by message_id limit ${most}`,
  waiting: `select message_id from outbox where correlation_id = $1 order by id limit ${most}`,
  handled: `select consumer, message_id, received_at from inbox
    where correlation_id = $1 order by received_at limit ${most}`,
  held: `select consumer, topic, key, coalesce(message_id, id) as message_id, type, headers, status, error, parked_at
    from dead_letters
    where coalesce(headers ->> 'ce_correlationid', message_id::text) = $1 order by place limit ${most}`,
  timers: `select kind, key, causation_id, set_at, due_at as at, 'waiting' as outcome, attempts, null as emitted from timers
    where correlation_id = $1 order by set_at limit ${most}`,
  ended: `select kind, key, causation_id, set_at, ended_at as at, outcome, attempts, emitted from ended_timers
    where correlation_id = $1 order by id limit ${most}`,
  transitions: `select sagas.id, name, history.version, history.causation_id, at, history.status, heard
    from sagas join saga_history as history on saga_id = sagas.id
    where correlation_id = $1 order by at, history.version limit ${most}`,
}

// One statement, and so one moment: what a transaction did is told whole or not at all.
const select = `select json_build_object(${Object.entries(selections)
  .map(([name, selection]) => `'${name}', (select coalesce(json_agg(row), '[]') from (${selection}) as row)`)
  .join(', ')}) as found`

type Found = Record<keyof typeof selections, FlowRow[]>

export type FlowOptions = {
  module: string
  run: Run
  consumers: FlowPart['consumers']
  /** The kinds of timers that are calls to the outside. */
  calls: string[]
}

/**
 * Tells what the module's own tables hold of the story with this correlation id: what it emitted and handled, its timers, calls
 * and sagas. Finds nothing older than the inbox's retention.
 */
export const createFlow =
  ({ module, run, consumers, calls }: FlowOptions) =>
  async (correlationId: string): Promise<FlowPart> => {
    const [row] = await run(select, [correlationId])
    const found = JSON.parse(String(row?.['found'])) as Found
    const { emitted, waiting, handled, held, timers, ended, transitions } = found
    const unsent = new Set(waiting.map((row) => String(row['message_id'])))
    return {
      module,
      consumers,
      messages: emitted.map((row) => toMessage(row, unsent)),
      handlings: toHandlings(handled, held),
      timers: [...ended, ...timers].map((row) => toTimer(row, calls)),
      transitions: transitions.map(toTransition),
      truncated: Object.values(found).some((rows) => rows.length === most),
    }
  }
