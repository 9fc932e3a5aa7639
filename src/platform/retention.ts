import type { Log } from './log.ts'
import type { Run } from './postgres.ts'
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

/** Rows that are deleted by age. `after` is where the last step ended: what it deleted need not be passed over again. */
export type Pruning = {
  name: string
  /** Deletes at most `limit` rows older than `ageMs`, and answers with `gone` and the `last` of them. */
  text: string
  ageMs: number
  /** What the statement takes besides `$1` the time, `$2` the lowest id of that time, `$3` after, `$4` limit. */
  parameters?: string[]
}

const nothing = '00000000-0000-0000-0000-000000000000'

/** The lowest UUIDv7 of a time: ids below it are older. */
export const lowestIdAt = (ms: number): string => {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`
}

const counted = (deletion: string) =>
  `with gone as (${deletion}) select count(*)::integer as gone, max(id)::text as last from gone`

const byId = (table: string, condition: string) =>
  counted(`delete from ${table} where id in (
      select id from ${table} where id > $3::uuid and id < $2::uuid and ${condition} order by id limit $4
    ) returning id`)

/** What every module prunes; `consumers` are the names under which its inbox has rows. */
export const prunings = ({ inboxMs, answersMs, endedMs }: Retention, consumers: string[]): Pruning[] => [
  ...consumers.map((consumer) => ({
    name: `inbox of ${consumer}`,
    ageMs: inboxMs,
    parameters: [consumer],
    text: counted(`delete from inbox where consumer = $5 and message_id in (
        select message_id from inbox
        where consumer = $5 and message_id > $3::uuid and message_id < $2::uuid and received_at < $1::timestamptz
        order by message_id limit $4
      ) returning message_id as id`),
  })),
  {
    name: 'idempotency keys',
    ageMs: answersMs,
    text: `with gone as (
        delete from idempotency_keys where (user_id, route, key) in (
          select user_id, route, key from idempotency_keys
          where created_at < $1::timestamptz and $2::uuid is not null and $3::uuid is not null order by created_at limit $4
        ) returning 1
      ) select count(*)::integer as gone, null::text as last from gone`,
  },
  {
    name: 'sagas',
    ageMs: endedMs,
    text: byId('sagas', `status in ('completed', 'compensated') and updated_at < $1::timestamptz`),
  },
  { name: 'jobs', ageMs: endedMs, text: byId('jobs', `status <> 'running' and created_at < $1::timestamptz`) },
  {
    name: 'dead letters',
    ageMs: endedMs,
    text: byId('dead_letters', `status in ('redriven', 'skipped') and resolved_at < $1::timestamptz`),
  },
]

/** Deletes what is too old in one table, in steps of `limit` rows, each a transaction of its own; returns how many went. */
export const prune = async (
  run: Run,
  { text, ageMs, parameters = [] }: Pruning,
  { now, limit, stopped }: { now: number; limit: number; stopped: () => boolean },
): Promise<number> => {
  const before = now - ageMs
  let total = 0
  for (let after = nothing; !stopped();) {
    const [row] = await run(text, [new Date(before).toISOString(), lowestIdAt(before), after, limit, ...parameters])
    const gone = Number(row?.['gone'] ?? 0)
    total += gone
    if (gone < limit) break
    after = row?.['last'] ? String(row['last']) : after
  }
  return total
}

export type PrunerOptions = {
  run: Run
  log: Log
  prunings: Pruning[]
  everyMs?: number
  limit?: number
  now?: () => number
}

/** Deletes what is too old, now and then. */
export const createPruner = (options: PrunerOptions): Worker => {
  const { run, log, prunings, everyMs = 10 * 60_000, limit = 1_000, now = Date.now } = options
  let stopping = false
  const round = async () => {
    for (const pruning of prunings) {
      const gone = await prune(run, pruning, { now: now(), limit, stopped: () => stopping })
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
