import { type SQL, sql } from 'drizzle-orm'
import type { Tx } from './postgres.ts'

/** Work split into tasks: `done` and `failed` of `total` have ended, and `result` is there when all have. */
export type Job<Data = unknown, Result = unknown> = {
  id: string
  kind: string
  status: 'running' | 'completed' | 'failed'
  data: Data
  total: number
  done: number
  failed: number
  result: Result | null
  version: number
  createdAt: Date
}

/** How the tasks' results become one. It must not depend on their order, and must make sense of a part of them. */
export type Aggregate<Result> = (results: Result[]) => Result

const columns = sql`id, kind, status, data, total, done, failed, result, version, created_at`

/** Records a job and its tasks, at least one and numbered from 0, in the transaction of `tx`. Emit one message a task with it. */
export const startJob = async <Data>(
  tx: Pick<Tx, 'execute'>,
  { id, kind, data, total, at }: { id: string; kind: string; data: Data; total: number; at: Date },
): Promise<Job<Data>> => {
  await tx.execute(sql`insert into jobs (id, kind, status, data, total, done, failed, version, created_at)
    values (${id}, ${kind}, 'running', ${JSON.stringify(data)}, ${total}, 0, 0, 1, ${at.toISOString()})`)
  await tx.execute(
    sql`insert into job_tasks (job_id, task, status) select ${id}::uuid, task, 'pending' from generate_series(0, ${total - 1}::integer) as task`,
  )
  return { id, kind, status: 'running', data, total, done: 0, failed: 0, result: null, version: 1, createdAt: at }
}

type Ending = { status: 'done'; result: unknown } | { status: 'failed'; error: string }

/**
 * Records how a task ended. The first record counts: a repeat changes nothing and answers undefined. The last task to end
 * aggregates the results of all that were done, and the job is completed, or failed when any task was given up.
 */
export const endTask = async <Result>(
  tx: Pick<Tx, 'execute'>,
  { jobId, task, ending, aggregate }: { jobId: string; task: number; ending: Ending; aggregate: Aggregate<Result> },
): Promise<Job | undefined> => {
  const result = ending.status === 'done' ? JSON.stringify(ending.result) : null
  const error = ending.status === 'failed' ? ending.error : null
  // The job's row is locked first, so that of two last tasks one sees the other.
  const [job] = await jobRows(tx, sql`select ${columns} from jobs where id = ${jobId} for update`)
  const ended =
    await tx.execute(sql`update job_tasks set status = ${ending.status}, result = ${result}, error = ${error}
    where job_id = ${jobId} and task = ${task} and status = 'pending' returning task`)
  // A job that has ended has no task that is pending.
  if (!job || (ended as unknown as unknown[]).length === 0) return undefined
  return advance(tx, job, ending.status === 'done' ? { done: 1, failed: 0 } : { done: 0, failed: 1 }, aggregate)
}

/** Gives up every task that has not ended, for a job whose deadline has come; undefined when none was left. */
export const expireJob = async <Result>(
  tx: Pick<Tx, 'execute'>,
  { jobId, aggregate }: { jobId: string; aggregate: Aggregate<Result> },
): Promise<Job | undefined> => {
  const [job] = await jobRows(tx, sql`select ${columns} from jobs where id = ${jobId} for update`)
  if (job?.status !== 'running') return undefined
  const expired = await tx.execute(sql`update job_tasks set status = 'failed', error = 'the deadline came first'
    where job_id = ${jobId} and status = 'pending' returning task`)
  return advance(tx, job, { done: 0, failed: (expired as unknown as unknown[]).length }, aggregate)
}

const advance = async <Result>(
  tx: Pick<Tx, 'execute'>,
  job: Job,
  ended: { done: number; failed: number },
  aggregate: Aggregate<Result>,
): Promise<Job | undefined> => {
  const done = job.done + ended.done
  const failed = job.failed + ended.failed
  const last = done + failed === job.total
  const status = last ? (failed > 0 ? 'failed' : 'completed') : 'running'
  const result = last ? JSON.stringify(aggregate(await resultsOf<Result>(tx, job.id))) : null
  const [changed] = await jobRows(
    tx,
    sql`update jobs set done = ${done}, failed = ${failed}, status = ${status}, result = ${result}, version = version + 1
      where id = ${job.id} returning ${columns}`,
  )
  return changed
}

const resultsOf = async <Result>(tx: Pick<Tx, 'execute'>, jobId: string): Promise<Result[]> => {
  const rows = await tx.execute(sql`select result from job_tasks where job_id = ${jobId} and status = 'done'`)
  return (rows as unknown as [string][]).map(([result]) => JSON.parse(result) as Result)
}

/** The jobs of a kind, by id, or the next of them after an id. */
export const findJobs = (
  tx: Pick<Tx, 'execute'>,
  kind: string,
  wanted: { ids: string[] } | { after: string | undefined; limit: number },
): Promise<Job[]> =>
  'ids' in wanted
    ? jobRows(
        tx,
        sql`select ${columns} from jobs where kind = ${kind} and id = any (${`{${wanted.ids.join(',')}}`}::uuid[])`,
      )
    : jobRows(
        tx,
        sql`select ${columns} from jobs where kind = ${kind} and (${wanted.after ?? null}::uuid is null or id > ${wanted.after ?? null}::uuid)
          order by id limit ${wanted.limit}`,
      )

type Row = [string, string, Job['status'], string, number, number, number, string | null, number, string]

const jobRows = async (tx: Pick<Tx, 'execute'>, statement: SQL): Promise<Job[]> =>
  ((await tx.execute(statement)) as unknown as Row[]).map(
    ([id, kind, status, data, total, done, failed, result, version, createdAt]) => ({
      id,
      kind,
      status,
      data: JSON.parse(data),
      total,
      done,
      failed,
      result: result === null ? null : JSON.parse(result),
      version,
      createdAt: new Date(createdAt),
    }),
  )
