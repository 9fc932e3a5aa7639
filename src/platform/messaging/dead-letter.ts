import { DomainError } from '../errors.ts'
import type { Postgres, SqlRow, Transaction } from '../postgres.ts'
import type { Consumer } from './consumer.ts'
import { toRecord } from './held.ts'
import type { Keep } from './outbox.ts'

export type DeadLetterStatus = 'parked' | 'waiting' | 'queued' | 'redriven' | 'skipped'

export type DeadLetter = {
  id: string
  consumer: string
  topic: string
  key: string
  messageId: string | null
  type: string | null
  sequence: number | null
  code: string
  error: string
  attempts: number
  status: DeadLetterStatus
  parkedAt: string
  resolvedAt: string | null
  resolvedBy: string | null
}

/** A dead letter with what it carries; `value` as text when it is UTF-8, else as base64. */
export type DeadLetterDetail = DeadLetter & {
  headers: Record<string, string>
  value: string
  encoding: 'utf8' | 'base64'
}

export type Resolving = {
  /** Who asked; it is kept. */
  by: string
  /** Redrives a message although its other deliveries may have been forgotten. */
  force?: boolean
  /** What is to commit with it. */
  keep?: Keep
}

export type DeadLetters = {
  /** The messages that are held, oldest first; with `all`, the resolved ones too. */
  list(options?: { all?: boolean; limit?: number }): Promise<DeadLetter[]>
  find(id: string): Promise<DeadLetterDetail | undefined>
  /**
   * Handles the message again and marks it redriven, in one transaction; when it fails again it stays parked. What is queued
   * behind it follows in its order, as far as it goes.
   * @throws DomainError `not-found`, `already-resolved`, `not-first`, `too-old`, or what the handler throws.
   */
  redrive(id: string, resolving: Resolving): Promise<DeadLetter>
  /** Gives the message up; what is queued behind it follows. @throws DomainError `not-found`, `already-resolved`, `not-first` */
  skip(id: string, resolving: Resolving): Promise<DeadLetter>
}

export type DeadLettersOptions = {
  postgres: Postgres
  /** Those that can handle the messages again. */
  consumers: Pick<Consumer, 'name' | 'redrive' | 'pass' | 'drain'>[]
  /** Called after a redrive, which may have emitted messages. */
  committed?: () => void
  /** For this long a consumer knows which messages it has handled. */
  dedupeMs?: number
}

const columns = `id, consumer, topic, key, message_id, type, sequence, code, error, attempts, status, parked_at, resolved_at,
  resolved_by, headers, encode(value, 'base64') as value`

const held = `('parked', 'waiting', 'queued')`

/** The held messages of one module, for whoever has to decide what no retry could. */
export const createDeadLetters = (options: DeadLettersOptions): DeadLetters => {
  const { postgres, consumers, committed = () => undefined, dedupeMs = 8 * 24 * 3_600_000 } = options

  const findRow = async (run: Transaction['run'], id: string): Promise<SqlRow> => {
    const [row] = await run(`select ${columns} from dead_letters where id = $1`, [id])
    if (!row) throw new DomainError('not-found', `There is no dead letter ${id}.`)
    return row
  }

  const refuseUnlessFirst = async ({ run }: Transaction, id: string): Promise<void> => {
    const [first] = await run(
      `select other.id from dead_letters as own join dead_letters as other using (consumer, key)
        where own.id = $1 and own.code <> 'step-back' and other.code <> 'step-back' and other.status in ${held}
          and (coalesce(other.sequence, 0), other.place) < (coalesce(own.sequence, 0), own.place)
        order by coalesce(other.sequence, 0), other.place limit 1`,
      [id],
    )
    if (first) throw new DomainError('not-first', `It is queued behind ${first['id']}: redrive or skip that one first.`)
  }

  const resolve = async (id: string, status: 'redriven' | 'skipped', { by, force, keep }: Resolving) => {
    const row = await findRow(postgres.run, id)
    const record = toRecord(row)
    const consumer = consumers.find(({ name }) => name === row['consumer'])
    if (!consumer && status === 'redriven') {
      throw new DomainError('not-handled', `No consumer ${row['consumer']} runs here any more: skip the dead letter.`)
    }
    const age = Date.now() - Date.parse(String(row['parked_at']))
    if (status === 'redriven' && age > dedupeMs && !force) {
      const days = Math.round(dedupeMs / (24 * 3_600_000))
      throw new DomainError(
        'too-old',
        `It was parked more than ${days} days ago: it may have had its effect. Force it.`,
      )
    }
    const resolved = await postgres.transaction(async (transaction) => {
      // The key is locked before the dead letter, as by the consumer.
      await consumer?.pass(transaction, record)
      const [marked] = await transaction.run(
        `update dead_letters set status = $2, resolved_at = now(), resolved_by = $3
          where id = $1 and status in ${held} returning ${columns}`,
        [id, status, by],
      )
      if (!marked) {
        const now = await findRow(transaction.run, id)
        throw new DomainError('already-resolved', `The dead letter ${id} was ${now['status']} already.`)
      }
      await refuseUnlessFirst(transaction, id)
      if (status === 'redriven') await consumer?.redrive(transaction, record)
      const letter = toDeadLetter(marked)
      if (keep) transaction.finishWith(keep(letter))
      return letter
    }, 'held.resolve')
    committed()
    await consumer?.drain(record)
    return resolved
  }

  return {
    list: async ({ all = false, limit = 100 } = {}) => {
      const rows = await postgres.run(
        `select ${columns} from dead_letters where status in ${held} or $1 order by parked_at, place limit $2`,
        [all, limit],
      )
      return rows.map(toDeadLetter)
    },
    find: async (id) => {
      const [row] = await postgres.run(`select ${columns} from dead_letters where id = $1`, [id])
      return row && toDetail(row)
    },
    redrive: (id, resolving) => resolve(id, 'redriven', resolving),
    skip: (id, resolving) => resolve(id, 'skipped', resolving),
  }
}

const nullable = (value: SqlRow[string] | undefined): string | null =>
  value === null || value === undefined ? null : String(value)

const time = (value: SqlRow[string] | undefined): string => new Date(String(value)).toISOString()

const toDeadLetter = (row: SqlRow): DeadLetter => ({
  id: String(row['id']),
  consumer: String(row['consumer']),
  topic: String(row['topic']),
  key: String(row['key']),
  messageId: nullable(row['message_id']),
  type: nullable(row['type']),
  sequence: row['sequence'] === null ? null : Number(row['sequence']),
  code: String(row['code']),
  error: String(row['error']),
  attempts: Number(row['attempts']),
  status: String(row['status']) as DeadLetterStatus,
  parkedAt: time(row['parked_at']),
  resolvedAt: row['resolved_at'] ? time(row['resolved_at']) : null,
  resolvedBy: nullable(row['resolved_by']),
})

const toDetail = (row: SqlRow): DeadLetterDetail => {
  const { headers, value } = toRecord(row)
  const text = value.toString('utf8')
  const readable = Buffer.from(text, 'utf8').equals(value)
  return {
    ...toDeadLetter(row),
    headers,
    value: readable ? text : value.toString('base64'),
    encoding: readable ? 'utf8' : 'base64',
  }
}
