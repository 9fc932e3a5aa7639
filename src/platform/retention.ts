import type { Log } from './log.ts'
import type { Finish, Postgres, Run, Transaction } from './postgres.ts'
import { type Worker, createWorker } from './worker.ts'

/** How long things are kept after their end, in milliseconds. */
export type Retention = {
  /** Which messages were handled: longer than the topics keep messages, or a repeat would have a second effect. */
  inboxMs: number
  /** The answers under an `Idempotency-Key`. */
  answersMs: number
  /** Sagas, jobs and dead letters that have ended. */
  endedMs: number
}

/** Rows of one table that are deleted by age. */
export type Pruning = {
  name: string
  table: string
  /** What finds old rows in an index: a time, or an id that begins with its time (UUIDv7). */
  by: { time: string } | { id: string }
  /** What has to hold besides. `$4` is the time before which rows are too old, `$5` what `each` found. */
  where?: string
  ageMs: number
  /** Finds the parts that are pruned one by one. */
  each?: string
  /** Whether snapshots are made from these rows: they go first. */
  snapshots?: boolean
}

const lowest = '00000000-0000-0000-0000-000000000000'

/** The lowest UUIDv7 of a time: ids below it are older. */
export const lowestIdAt = (ms: number): string => {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`
}

// From name to name by the primary key, however many rows each has; also those that no consumer bears any more.
const inboxConsumers = `with recursive named as (
    select min(consumer) as part from inbox
    union all
    select (select min(consumer) from inbox where consumer > named.part) from named where named.part is not null
  )
  select part from named where part is not null`

/** What every module prunes. Nothing that is held, waits or runs is among it, whatever its age. */
export const prunings = ({ inboxMs, answersMs, endedMs }: Retention): Pruning[] => [
  {
    name: 'inbox',
    table: 'inbox',
    by: { id: 'message_id' },
    where: 'consumer = $5 and received_at < $4::timestamptz',
    ageMs: inboxMs,
    each: inboxConsumers,
  },
  {
    name: 'inbox, ids of other makes',
    table: 'inbox',
    by: { time: 'received_at' },
    where: `substr(message_id::text, 15, 1) <> '7'`,
    ageMs: inboxMs,
  },
  { name: 'emitted messages', table: 'emitted_messages', by: { id: 'message_id' }, ageMs: inboxMs },
  { name: 'ended timers', table: 'ended_timers', by: { id: 'id' }, ageMs: inboxMs },
  { name: 'idempotency keys', table: 'idempotency_keys', by: { time: 'created_at' }, ageMs: answersMs },
  {
    name: 'sagas',
    table: 'sagas',
    by: { id: 'id' },
    where: `status in ('completed', 'compensated') and updated_at < $4::timestamptz`,
    ageMs: endedMs,
    snapshots: true,
  },
  {
    name: 'jobs',
    table: 'jobs',
    by: { id: 'id' },
    where: `status <> 'running' and created_at < $4::timestamptz`,
    ageMs: endedMs,
    snapshots: true,
  },
  {
    name: 'dead letters',
    table: 'dead_letters',
    by: { id: 'id' },
    where: `status in ('redriven', 'skipped') and resolved_at < $4::timestamptz`,
    ageMs: endedMs,
  },
]

/** Where a pruning stands: `after` is where the last step ended, so that what is gone is not passed over again. */
type Step = { before: number; after: string | undefined; limit: number; part?: string }

/** The statement that deletes the next rows, at most `limit`; answers with the `ids` and the `last` of them. */
export const pruningStep = ({ table, by, where = 'true' }: Pruning, { before, after, limit, part }: Step): Finish => {
  const time = new Date(before).toISOString()
  const [column, range, from, to] =
    'id' in by
      ? [by.id, `${by.id} > $1::uuid and ${by.id} < $2::uuid`, lowest, lowestIdAt(before)]
      : [by.time, `${by.time} >= $1::timestamptz and ${by.time} < $2::timestamptz`, '-infinity', time]
  // The place of a row is exact, whatever the planner believes of the table.
  const text = `with gone as (
      delete from ${table} where ${where} and ctid = any (array(
        select ctid from ${table} where ${where} and ${range} order by ${column} limit $3::integer
      )) returning ${column} as place
    )
    select count(*)::integer as gone, (array_agg(place order by place desc))[1]::text as last,
      json_agg(place) as places from gone`
  const parameters = [after ?? from, to, limit]
  if (part !== undefined) return { text, parameters: [...parameters, time, part] }
  return { text, parameters: where.includes('$4') ? [...parameters, time] : parameters }
}

// Without statistics, or with old ones, the planner would read everything that is old to sort out the oldest of it.
const inOrderOfIndex = `select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
  set_config('enable_sort', 'off', true)`

/** Runs one step so that it reads little more than it deletes. */
export const runStep = async (run: Run, { text, parameters }: Finish) => {
  await run(inOrderOfIndex)
  const [row] = await run(text, parameters)
  return {
    gone: Number(row?.['gone'] ?? 0),
    last: row?.['last'] ? String(row['last']) : undefined,
    places: JSON.parse(String(row?.['places'] ?? '[]')) as string[],
  }
}

export type PruneOptions = {
  postgres: Pick<Postgres, 'run' | 'transaction'>
  now: number
  /** The most rows that one transaction deletes. */
  limit: number
  stopped?: () => boolean
  /** Lets go of the snapshots of these ids, as `transaction` has left them; before it commits, so that a repeat finds them. */
  forget?: (transaction: Transaction, ids: string[]) => Promise<void>
}

/** Deletes what is too old in one table, in steps of `limit` rows, each a transaction of its own; returns how many went. */
export const prune = async (pruning: Pruning, options: PruneOptions): Promise<number> => {
  const { postgres, now, limit, stopped = () => false, forget } = options
  const before = now - pruning.ageMs
  const parts = pruning.each ? (await postgres.run(pruning.each)).map((row) => ({ part: String(row['part']) })) : [{}]
  let total = 0
  for (const part of parts) {
    for (let after: string | undefined; !stopped();) {
      const step = pruningStep(pruning, { before, after, limit, ...part })
      const { gone, last } = await postgres.transaction(async (transaction) => {
        const done = await runStep(transaction.run, step)
        if (pruning.snapshots && done.gone > 0) await forget?.(transaction, done.places)
        return done
      }, 'retention.commit')
      total += gone
      if (gone < limit) break
      after = last
    }
  }
  return total
}

export type PrunerOptions = Pick<PruneOptions, 'postgres' | 'forget'> & {
  log: Log
  prunings: Pruning[]
  everyMs?: number
  limit?: number
  now?: () => number
}

/** Deletes what is too old, now and then; not while the process starts, and not when every other process does. */
export const createPruner = (options: PrunerOptions): Worker => {
  const { log, prunings, everyMs = 10 * 60_000, limit = 1_000, now = Date.now, ...parts } = options
  let stopping = false
  let started = false
  const round = async () => {
    if (!started) {
      started = true
      return everyMs * (0.5 + Math.random() / 2)
    }
    for (const pruning of prunings) {
      const gone = await prune(pruning, { ...parts, now: now(), limit, stopped: () => stopping })
      if (gone > 0) log.debug({ what: pruning.name, rows: gone }, 'old rows were deleted')
    }
    return everyMs
  }
  const worker = createWorker({ round, pollMs: everyMs, log, name: 'retention', enabled: true })
  return {
    ...worker,
    stop: async () => {
      stopping = true
      await worker.stop()
    },
  }
}
