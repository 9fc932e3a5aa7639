import { type Findings, type Invariant, type Sources, broken, text } from './invariant.ts'
import { sequences } from './sequences.ts'

async function* outboxes({ databases }: Sources): Findings {
  for (const [module, { run }] of Object.entries(databases)) {
    for (const row of await run('select message_id, type, key from outbox order by id limit 1000')) {
      yield broken(`${module}: ${text(row, 'type')} ${text(row, 'message_id')} of ${text(row, 'key')} is in the outbox`)
    }
  }
}

async function* lag({ broker, hosted }: Sources): Findings {
  const consumers = Object.values(hosted).flatMap((module) => module.consumers)
  const behind = await Promise.all(consumers.map(({ name, topic }) => broker.lag(name, topic)))
  for (const [index, { name, topic }] of consumers.entries()) {
    for (const { partition, behind: count } of behind[index] ?? []) {
      yield broken(`${name}: ${count} messages of ${topic}/${partition} are not handled`)
    }
  }
}

/** The longest that a process lets what has fallen due wait is a poll of three seconds. */
const overdue = `select kind, key, due_at, attempts from timers where due_at < clock_timestamp() - interval '5 seconds' or attempts > 0
  order by due_at limit 1000`

async function* timers({ databases }: Sources): Findings {
  for (const [module, { run }] of Object.entries(databases)) {
    for (const row of await run(overdue)) {
      const [name, tries] = [`${module}: ${text(row, 'kind')} ${text(row, 'key')}`, Number(row['attempts'])]
      yield broken(`${name} was due at ${text(row, 'due_at')}${tries > 0 ? ` and was tried ${tries} times` : ''}`)
    }
  }
}

const miscounted = `
  with ended as (
    select job_id, count(*) filter (where status = 'done') as done, count(*) filter (where status = 'failed') as failed, count(*) as total
    from job_tasks group by 1
  )
  select jobs.id, kind, jobs.done, jobs.failed, jobs.total, ended.done as tasks_done, ended.failed as tasks_failed, ended.total as tasks
  from jobs left join ended on job_id = jobs.id
  where (jobs.done, jobs.failed, jobs.total) is distinct from (ended.done, ended.failed, ended.total) order by id limit 1000`

const wrongSums = `
  with parts as (
    select job_id as id, part->>'currency' as currency, sum((part->>'captured')::numeric) as captured,
      sum((part->>'refunded')::numeric) as refunded, sum((part->>'payments')::numeric) as payments
    from job_tasks, json_array_elements(result) as part where status = 'done' group by 1, 2
  ),
  wholes as (
    select id, whole->>'currency' as currency, (whole->>'captured')::numeric as captured, (whole->>'refunded')::numeric as refunded,
      (whole->>'payments')::numeric as payments
    from jobs, json_array_elements(result) as whole where kind = 'settlement' and status <> 'running'
  )
  select id, currency from parts full join wholes using (id, currency, captured, refunded, payments)
  join jobs using (id) where jobs.kind = 'settlement' and jobs.status <> 'running' and (parts is null or wholes is null)
  group by 1, 2 order by 1, 2 limit 1000`

/** A task counts once, in the tally of its job and in its sum. */
async function* tasks({ databases: { payments } }: Sources): Findings {
  for (const row of await payments.run(miscounted)) {
    const counted = `${text(row, 'done')} done and ${text(row, 'failed')} failed of ${text(row, 'total')}`
    const ended = `${text(row, 'tasks_done')}, ${text(row, 'tasks_failed')} and ${text(row, 'tasks')}`
    yield broken(`${text(row, 'kind')} ${text(row, 'id')} counts ${counted}, and its tasks are ${ended}`)
  }
  for (const row of await payments.run(wrongSums)) {
    yield broken(`settlement ${text(row, 'id')} does not sum up what its tasks say in ${text(row, 'currency')}`)
  }
}

export const messages: Invariant = {
  name: 'nothing is left in an outbox, unhandled or overdue, and each message has had at most one effect per consumer',
  check: async function* (sources) {
    yield* outboxes(sources)
    yield* lag(sources)
    yield* timers(sources)
    yield* tasks(sources)
    yield* sequences(sources)
  },
}
