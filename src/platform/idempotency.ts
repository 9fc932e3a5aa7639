import { DomainError } from './errors.ts'
import type { Finish, Run } from './postgres.ts'

/** A client's `Idempotency-Key`, scoped to the user and the route, with the hash of what the request asked for. */
export type IdempotencyKey = { userId: string; route: string; key: string; requestHash: string }

/** An answer as it is given again: `body` is its text. */
export type StoredAnswer = { status: number; body: string; location: string | null; consistency: string }

/** The name of the constraint that a second effect under one key breaks. */
export const idempotencyConstraint = 'idempotency_keys_pkey'

/** The statement that keeps the answer in the transaction of its effect; it fails when the key has an answer already. */
export const keepAnswer = (key: IdempotencyKey, { status, body, location, consistency }: StoredAnswer): Finish => ({
  text: `insert into idempotency_keys (user_id, route, key, request_hash, status, body, location, consistency)
    values ($1, $2, $3, $4, $5, $6, $7, $8)`,
  parameters: [key.userId, key.route, key.key, key.requestHash, status, body, location, consistency],
})

/**
 * The answer that this key was given before, if any.
 * @throws DomainError `idempotency-key-reused` when it was given to another request
 */
export const findAnswer = async (
  run: Run,
  { userId, route, key, requestHash }: IdempotencyKey,
): Promise<StoredAnswer | undefined> => {
  const [row] = await run(
    `select request_hash, status, body, location, consistency from idempotency_keys where user_id = $1 and route = $2 and key = $3`,
    [userId, route, key],
  )
  if (!row) return undefined
  if (row['request_hash'] !== requestHash) {
    throw new DomainError('idempotency-key-reused', 'This Idempotency-Key was used for another request.')
  }
  return {
    status: Number(row['status']),
    body: String(row['body']),
    location: row['location'] === null ? null : String(row['location']),
    consistency: String(row['consistency']),
  }
}
