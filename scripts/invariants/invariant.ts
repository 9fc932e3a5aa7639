import type { Postgres, SqlRow } from '#platform/postgres'
import type { RedisClient } from '#platform/redis'
import type { Outgoing } from '#platform/outgoing'
import type { Broker } from '#platform/messaging/kafka'
import type { Hosted } from '../operate/hosted.ts'

/** What the check reads: every module's own database by its own role, Redis, the broker and the provider's ledger. */
export type Sources = {
  databases: Record<'users' | 'orders' | 'payments', Postgres>
  hosted: Hosted
  redis: RedisClient
  broker: Broker
  provider: Outgoing
}

/** One finding is one sentence with the ids in it; none means that the invariant holds. */
export type Invariant = { name: string; check(sources: Sources): Promise<string[]> }

export const text = (row: SqlRow, column: string): string => String(row[column])
