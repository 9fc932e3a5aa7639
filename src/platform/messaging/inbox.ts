import { type Finish, type Run, textArray } from '../postgres.ts'
import type { RawRecord } from './cloud-event.ts'
import type { KeyState } from './key-order.ts'

const insertRows = `insert into inbox (consumer, message_id, correlation_id)
  select $1, * from unnest($2::uuid[], $3::text[])
  on conflict do nothing
  returning message_id`

/** A message as the inbox remembers it. */
export type Admitted = { id: string; correlationId: string }

/** How the inbox remembers a record whose id is known, whatever else of it can be read. */
export const admittedOf = (id: string, { headers }: Pick<RawRecord, 'headers'>): Admitted => ({
  id,
  // Postgres takes no NUL in a text.
  correlationId: (headers['ce_correlationid'] ?? id).replaceAll('\0', '\ufffd'),
})

/**
 * Records the messages as handled by `consumer`, in the transaction of their effect, and returns the ids of those that were
 * not recorded before; one statement, whatever their number.
 */
export const admit = async (run: Run, consumer: string, messages: Admitted[]): Promise<Set<string>> => {
  if (messages.length === 0) return new Set()
  const rows = await run(insertRows, [
    consumer,
    `{${messages.map(({ id }) => id).join(',')}}`,
    textArray(messages.map(({ correlationId }) => correlationId)),
  ])
  return new Set(rows.map((row) => String(row['message_id'])))
}

/** Which of these messages `consumer` has handled. */
export const handledAmong = async (run: Run, consumer: string, ids: string[]): Promise<Set<string>> => {
  if (ids.length === 0) return new Set()
  const select = `select message_id from inbox where consumer = $1 and message_id = any ($2::uuid[])`
  return new Set((await run(select, [consumer, `{${ids.join(',')}}`])).map((row) => String(row['message_id'])))
}

/** Since when the consumer has been there, in milliseconds; from now on, when it is new. */
export const joinedAt = async (run: Run, consumer: string): Promise<number> => {
  await run(`insert into inbox_consumers (consumer) values ($1) on conflict do nothing`, [consumer])
  const [row] = await run(`select joined_at from inbox_consumers where consumer = $1`, [consumer])
  return Date.parse(String(row?.['joined_at']))
}

/** When a UUIDv7 was made, in milliseconds; undefined for anything else. */
export const timeOfId = (id: string): number | undefined =>
  /^[0-9a-f]{8}-[0-9a-f]{4}-7/i.test(id) ? Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : undefined

const lockRows = `select key, sequence, blocked from inbox_keys
  where consumer = $1 and key = any ($2::text[])
  order by key for update`

/**
 * Locks how far the consumer has come with these keys; one that it has not met is not in the answer. To be sent behind
 * `admit`: only then does it see what another process has committed with the same messages.
 */
export const lockKeys = async (run: Run, consumer: string, keys: string[]): Promise<Map<string, KeyState>> => {
  const rows = await run(lockRows, [consumer, textArray(keys)])
  return new Map(
    rows.map((row) => [String(row['key']), { sequence: Number(row['sequence']), blocked: row['blocked'] === true }]),
  )
}

/** The statement that records how far the consumer has come with these keys, to travel with the commit. */
export const keepKeys = (consumer: string, keys: [key: string, state: KeyState][]): Finish => ({
  text: `insert into inbox_keys (consumer, key, sequence, blocked)
    select $1, key, sequence, blocked from json_to_recordset($2) as row(key text, sequence bigint, blocked boolean)
    on conflict (consumer, key) do update set sequence = excluded.sequence, blocked = excluded.blocked`,
  parameters: [consumer, JSON.stringify(keys.map(([key, state]) => ({ key, ...state })))],
})
