import { DomainError, messageOf } from '../errors.ts'
import { type Finish, type Run, type SqlRow, textArray } from '../postgres.ts'
import { type RawRecord, UndecodableError } from './cloud-event.ts'
import type { HeldBecause, HeldStatus } from './key-order.ts'
import { restatementPattern } from './message.ts'

/** A message to hold, whole. */
export type Holding = {
  record: RawRecord
  /** `topic/partition/offset`: a record is held once, however often it is fetched. */
  position: string
  messageId: string | undefined
  type: string | undefined
  sequence: number | undefined
  status: HeldStatus
  because: HeldBecause
  error: unknown
  attempts: number
}

/** A held message that is first of its key; `code` says why it is held. */
export type Head = { id: string; status: HeldStatus; code: string; position: string; record: RawRecord }

const codeOf = (because: HeldBecause, error: unknown): string => {
  if (because !== 'poison') return because
  return error instanceof DomainError ? error.code : error instanceof UndecodableError ? 'undecodable' : 'fault'
}

// Postgres takes no NUL in a text.
const clean = (text: string): string => text.replaceAll('\0', '\ufffd')

const insertHeld = `insert into dead_letters
    (id, consumer, topic, key, message_id, type, headers, value, code, error, attempts, position, sequence, status)
  select id, $1, topic, key, message_id, type, headers, decode(value, 'base64'), code, error, attempts, position, sequence, status
  from json_to_recordset($2) as row(id uuid, topic text, key text, message_id uuid, type text, headers json, value text,
    code text, error text, attempts integer, position text, sequence bigint, status text)
  on conflict (consumer, position) do nothing`

/** The statement that holds these messages of a consumer, in their order. */
export const holdMessages = (consumer: string, holdings: Holding[]): Finish => ({
  text: insertHeld,
  parameters: [
    consumer,
    JSON.stringify(
      holdings.map(({ record, position, messageId, type, sequence, status, because, error, attempts }) => ({
        id: Bun.randomUUIDv7(),
        topic: record.topic,
        key: clean(record.key),
        message_id: messageId,
        type,
        headers: Object.fromEntries(Object.entries(record.headers).map(([name, text]) => [clean(name), clean(text)])),
        value: record.value.toString('base64'),
        code: codeOf(because, error),
        error: clean(messageOf(error)).slice(0, 4_000),
        attempts,
        position,
        sequence,
        status,
      })),
    ),
  ],
})

/** Which of these positions are on record already. */
export const knownPositions = async (run: Run, consumer: string, positions: string[]): Promise<Set<string>> => {
  const rows = await run(
    `select position from dead_letters
      where consumer = $1 and position = any ($2::text[])`,
    [consumer, textArray(positions)],
  )
  return new Set(rows.map((row) => String(row['position'])))
}

/** The first held message of a key: the lowest sequence, then the order in which they were held. */
export const headOf = async (run: Run, consumer: string, key: string): Promise<Head | undefined> => {
  const [row] = await run(
    `select id, topic, key, headers, encode(value, 'base64') as value, status, code, position from dead_letters
      where consumer = $1 and key = $2 and status in ('parked', 'waiting', 'queued') and code <> 'step-back'
      order by coalesce(sequence, 0), place limit 1`,
    [consumer, clean(key)],
  )
  return (
    row && {
      id: String(row['id']),
      status: String(row['status']) as HeldStatus,
      code: String(row['code']),
      position: String(row['position']),
      record: toRecord(row),
    }
  )
}

/** Whether a key holds a restatement: what is missing before it will not come, and need not. */
export const holdsRestatement = async (run: Run, consumer: string, key: string): Promise<boolean> => {
  const rows = await run(
    `select id from dead_letters
      where consumer = $1 and key = $2 and status in ('parked', 'waiting', 'queued') and code <> 'step-back' and type ~ $3
      limit 1`,
    [consumer, clean(key), restatementPattern],
  )
  return rows.length > 0
}

/** Says why a held message that is first now cannot be handled. */
export const markHeld = async (
  run: Run,
  id: string,
  { status, because, error, attempts }: Pick<Holding, 'status' | 'because' | 'error' | 'attempts'>,
): Promise<void> => {
  await run(`update dead_letters set status = $2, code = $3, error = $4, attempts = $5 where id = $1`, [
    id,
    status,
    codeOf(because, error),
    clean(messageOf(error)).slice(0, 4_000),
    attempts,
  ])
}

/** Ends the holding of a message. */
export const resolveHeld = async (
  run: Run,
  id: string,
  { status, by }: { status: 'redriven' | 'skipped'; by: string },
): Promise<void> => {
  await run(`update dead_letters set status = $2, resolved_at = now(), resolved_by = $3 where id = $1`, [
    id,
    status,
    by,
  ])
}

/** The record that a row of `dead_letters` holds; `value` is base64. */
export const toRecord = (row: SqlRow): RawRecord => ({
  topic: String(row['topic']),
  key: String(row['key']),
  headers: JSON.parse(String(row['headers'])) as Record<string, string>,
  value: Buffer.from(String(row['value']), 'base64'),
})
