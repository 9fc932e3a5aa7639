import type { Run } from './postgres.ts'

/** What of a module's tables is worth an alert. Ages are in seconds. */
export type Measures = {
  outbox: { messages: number; oldestAge: number }
  deadLetters: { consumer: string; status: string; count: number }[]
  /** Those that have not ended. */
  sagas: { name: string; status: string; count: number; oldestAge: number }[]
  timers: { waiting: number; overdueAge: number }
}

const age = (time: string) => `coalesce(extract(epoch from statement_timestamp() - ${time}), 0)::float8`

const select = `select json_build_object(
  'outbox', (select json_build_object('messages', count(*), 'oldestAge', ${age(
    '(select occurred_at::timestamptz from outbox order by id limit 1)',
  )}) from outbox),
  'deadLetters', (select coalesce(json_agg(row), '[]') from (
    select consumer, status, count(*)::integer as count from dead_letters
    where status in ('parked', 'waiting', 'queued') group by consumer, status) as row),
  'sagas', (select coalesce(json_agg(row), '[]') from (
    select name, status, count(*)::integer as count, ${age('min(created_at)')} as "oldestAge" from sagas
    where status in ('running', 'compensating', 'needs-operator') group by name, status) as row),
  'timers', (select json_build_object('waiting', count(*),
    'overdueAge', greatest(0, ${age('min(due_at)')})) from timers)
) as measured`

/** Measures the module's tables, in one statement that reads only what waits. */
export const measure = async (run: Run): Promise<Measures> => {
  const [row] = await run(select)
  return JSON.parse(String(row?.['measured'])) as Measures
}
