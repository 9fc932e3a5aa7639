import { DomainError, messageOf } from '../errors.ts'
import type { Postgres, SqlRow, Transaction } from '../postgres.ts'
import { type RawRecord, UndecodableError } from './cloud-event.ts'
import type { Consumer } from './consumer.ts'
import type { Received } from './message.ts'
import type { Keep } from './outbox.ts'

export type DeadLetter = {
  id: string
  consumer: string
  topic: string
  key: string
  messageId: string | null
  type: string | null
  code: string
  error: string
  attempts: number
  status: 'parked' | 'redriven' | 'skipped'
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

export type Parking = {
  consumer: string
  /** `topic/partition/offset`: a record is parked once, however often it is fetched. */
  position: string
  record: RawRecord
  message: Received | undefined
  error: unknown
  attempts: number
}

const insertDeadLetter = `insert into dead_letters
    (id, consumer, topic, key, message_id, type, headers, value, code, error, attempts, position)
  values ($1, $2, $3, $4, $5, $6, $7, decode($8, 'base64'), $9, $10, $11, $12)
  on conflict (consumer, position) do nothing`

const codeOf = (error: unknown): string =>
  error instanceof DomainError ? error.code : error instanceof UndecodableError ? 'undecodable' : 'fault'

/** Keeps a message that could not be handled, its inbox row, and what `also` writes, in one transaction. */
export const park = async (
  postgres: Pick<Postgres, 'transaction'>,
  parking: Parking,
  also?: (transaction: Transaction) => Promise<void>,
): Promise<void> => {
  const { consumer, position, record, message, error, attempts } = parking
  const headers = JSON.stringify(record.headers).replaceAll('\\u0000', '\\ufffd')
  await postgres.transaction(async (transaction) => {
    const { run } = transaction
    if (message) {
      await run('insert into inbox (consumer, message_id) values ($1, $2) on conflict do nothing', [
        consumer,
        message.id,
      ])
    }
    await run(insertDeadLetter, [
      Bun.randomUUIDv7(),
      consumer,
      record.topic,
      record.key.replaceAll('\0', '\ufffd'),
      message?.id ?? null,
      message?.type ?? null,
      headers,
      record.value.toString('base64'),
      codeOf(error),
      messageOf(error).replaceAll('\0', '\ufffd').slice(0, 4_000),
      attempts,
      position,
    ])
    await also?.(transaction)
  })
}

export type DeadLetters = {
  /** The parked messages, oldest first; with `all`, the resolved ones too. */
  list(options?: { all?: boolean; limit?: number }): Promise<DeadLetter[]>
  find(id: string): Promise<DeadLetterDetail | undefined>
  /**
   * Handles the message again and marks it redriven, in one transaction; when it fails again it stays parked. What `keep`
   * makes of the result commits with it.
   * @throws DomainError `not-found`, `already-resolved`, or what the handler throws.
   */
  redrive(id: string, by: string, keep?: Keep): Promise<DeadLetter>
  /** Gives the message up; `keep` as in `redrive`. @throws DomainError `not-found`, `already-resolved`. */
  skip(id: string, by: string, keep?: Keep): Promise<DeadLetter>
}

const columns = `id, consumer, topic, key, message_id, type, code, error, attempts, status, parked_at, resolved_at, resolved_by,
  headers, encode(value, 'base64') as value`

/**
 * The parked messages of one module. `consumers` are those that can handle them again; `committed` is called after a redrive,
 * which may have emitted messages.
 */
export const createDeadLetters = (
  postgres: Postgres,
  consumers: Pick<Consumer, 'name' | 'redrive'>[],
  committed: () => void = () => undefined,
): DeadLetters => {
  const resolve = async (id: string, by: string, status: 'redriven' | 'skipped', keep?: Keep) => {
    const lock = `select ${columns} from dead_letters where id = $1 for update`
    return postgres.transaction(async (transaction) => {
      const [row] = await transaction.run(lock, [id])
      if (!row) throw new DomainError('not-found', `There is no dead letter ${id}.`)
      if (row['status'] !== 'parked')
        throw new DomainError('already-resolved', `The dead letter ${id} was ${row['status']} already.`)
      if (status === 'redriven') {
        const consumer = consumers.find(({ name }) => name === row['consumer'])
        if (!consumer)
          throw new DomainError(
            'not-handled',
            `No consumer ${row['consumer']} runs here any more: skip the dead letter.`,
          )
        await consumer.redrive(transaction, toRecord(row))
      }
      const [resolved] = await transaction.run(
        `update dead_letters set status = $2, resolved_at = now(), resolved_by = $3 where id = $1 returning ${columns}`,
        [id, status, by],
      )
      const letter = toDeadLetter(resolved ?? row)
      if (keep) transaction.finishWith(keep(letter))
      return letter
    })
  }
  return {
    list: async ({ all = false, limit = 100 } = {}) => {
      const rows = await postgres.run(
        `select ${columns} from dead_letters where status = 'parked' or $1 order by parked_at, id limit $2`,
        [all, limit],
      )
      return rows.map(toDeadLetter)
    },
    find: async (id) => {
      const [row] = await postgres.run(`select ${columns} from dead_letters where id = $1`, [id])
      return row && toDetail(row)
    },
    redrive: async (id, by, keep) => {
      const redriven = await resolve(id, by, 'redriven', keep)
      committed()
      return redriven
    },
    skip: (id, by, keep) => resolve(id, by, 'skipped', keep),
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
  code: String(row['code']),
  error: String(row['error']),
  attempts: Number(row['attempts']),
  status: String(row['status']) as DeadLetter['status'],
  parkedAt: time(row['parked_at']),
  resolvedAt: row['resolved_at'] ? time(row['resolved_at']) : null,
  resolvedBy: nullable(row['resolved_by']),
})

const toRecord = (row: SqlRow): RawRecord => ({
  topic: String(row['topic']),
  key: String(row['key']),
  headers: JSON.parse(String(row['headers'])) as Record<string, string>,
  value: Buffer.from(String(row['value']), 'base64'),
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
