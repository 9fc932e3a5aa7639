import type { Postgres, Run, SqlRow } from '#platform/postgres'
import type { RedisClient } from '#platform/redis'
import type { Outgoing } from '#platform/outgoing'
import type { Broker } from '#platform/messaging/kafka'
import type { WholeApp } from '../../src/app.ts'

/** What the check reads: every module's own database by its own role, Redis, the broker and the provider's ledger. */
export type Sources = {
  databases: Record<'users' | 'orders' | 'payments', Postgres>
  hosted: WholeApp['hosted']
  redis: RedisClient
  broker: Broker
  provider: Outgoing
}

/** One sentence with the ids in it. What `waits` is not a breach: an operator has been told, and it is counted apart. */
export type Finding = { line: string; waits: boolean }

export type Findings = AsyncGenerator<Finding>

/** A breach. */
export const broken = (line: string): Finding => ({ line, waits: false })

/** What an operator has been told. */
export const apart = (line: string): Finding => ({ line, waits: true })

/** What waits for an operator. */
export type Waiting = {
  lines: string[]
  /** The ids of the sagas that are stuck, and every id that a parked message names. */
  ids: ReadonlySet<string>
  /** Whether an operator has been told of any of these. */
  about(...ids: (string | null | undefined)[]): boolean
}

/** It holds when it finds nothing, or only what waits. */
export type Invariant = { name: string; check(sources: Sources, waiting: Waiting): Findings }

/** A column as text. */
export const text = (row: SqlRow, column: string): string => String(row[column])

/** A column as text, or null. */
export const nullable = (row: SqlRow, column: string): string | null =>
  row[column] === null ? null : String(row[column])

/** The least and the greatest of all UUIDs. */
export const uuids = { first: '00000000-0000-0000-0000-000000000000', last: 'ffffffff-ffff-ffff-ffff-ffffffffffff' }

/** Whether Postgres would take it for a UUID. */
export const isUuid = (id: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)

/** An array of Postgres. */
export const arrayOf = (ids: Iterable<string>): string => `{${[...ids].join(',')}}`

/** The rows of a statement in pages; it takes those whose `id` comes after $1, in their order, $2 at most. */
export async function* pages(run: Run, statement: string, { first = uuids.first, size = 2_000 } = {}) {
  for (let after = first; ;) {
    const rows = await run(statement, [after, size])
    if (rows.length > 0) yield rows
    if (rows.length < size) return
    after = text(rows[rows.length - 1] ?? {}, 'id')
  }
}
