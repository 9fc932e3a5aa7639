import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { array, assert, asyncProperty, boolean, integer, record, tuple } from 'fast-check'
import { type TestSchema, testSchema } from '../test/database.ts'
import { lockWaiters, outboxOn } from '../test/mechanism.ts'
import { pay, trace } from '../test/messaging.ts'
import { messageThrownBy } from '../test/thrown.ts'
import { type Job, endTask, expireJob, findJobs, startJob } from './fan-out.ts'
import type { Tx } from './postgres.ts'

setDefaultTimeout(60_000)

let schema: TestSchema

beforeAll(async () => {
  schema = await testSchema()
})

afterAll(() => schema.close())

const kind = 'sums'
const at = new Date('2026-01-02T03:04:05.678Z')
type Sum = { tasks: number; sum: number }
const aggregate = (results: Sum[]): Sum => ({
  tasks: results.reduce((sum, { tasks }) => sum + tasks, 0),
  sum: results.reduce((total, { sum }) => total + sum, 0),
})
const sumOf = (sum: number): Sum => ({ tasks: 1, sum })

type Delivery = { task: number; fails: boolean; result: number }

const jobWith = (total: number, id: string = Bun.randomUUIDv7()) =>
  schema.postgres.transaction(({ tx }) => startJob(tx, { id, kind, data: { total }, total, at }))

const endIn = (tx: Tx, jobId: string, { task, fails, result }: Delivery) => {
  const ending = fails
    ? ({ status: 'failed', error: `task ${task} failed` } as const)
    : ({ status: 'done', result: sumOf(result) } as const)
  return endTask(tx, { jobId, task, ending, aggregate })
}
const end = (jobId: string, delivery: Delivery) => schema.postgres.transaction(({ tx }) => endIn(tx, jobId, delivery))
const done = (task: number, result = task): Delivery => ({ task, fails: false, result })
const failed = (task: number): Delivery => ({ task, fails: true, result: 0 })
const expire = (jobId: string) => schema.postgres.transaction(({ tx }) => expireJob(tx, { jobId, aggregate }))

const found = async (id: string): Promise<Job | undefined> =>
  (await findJobs(schema.postgres.read, kind, { ids: [id] }))[0]
const tasksOf = async (id: string) =>
  (
    await schema.owner.run('select task, status, result, error from orders.job_tasks where job_id = $1 order by task', [
      id,
    ])
  ).map((row) => [
    row['task'],
    row['status'],
    row['result'] && (JSON.parse(String(row['result'])) as Sum).sum,
    row['error'],
  ])

test('a job, its tasks and a message for each are one commit, and gone with a rollback', async () => {
  const outbox = outboxOn(schema.postgres)
  const start = (id: string, then: () => void = () => undefined) =>
    outbox.transact(trace())(async (tx, emit) => {
      const job = await startJob(tx, { id, kind, data: { from: 'here' }, total: 3, at })
      for (let task = 0; task < job.total; task += 1) emit(pay(id, `${id}:${task}`, { amount: task }))
      then()
      return job
    })
  const messages = async (id: string) =>
    (await schema.owner.run('select key from orders.outbox where subject = $1 order by key', [id])).map(
      ({ key }) => key,
    )
  const [kept, gone] = [Bun.randomUUIDv7(), Bun.randomUUIDv7()]
  const job = await start(kept)
  expect(await found(kept)).toEqual(job)
  expect(job).toMatchObject({ status: 'running', data: { from: 'here' }, total: 3, done: 0, failed: 0, version: 1 })
  expect(await tasksOf(kept)).toEqual([0, 1, 2].map((task) => [task, 'pending', null, null]))
  expect(await messages(kept)).toEqual([0, 1, 2].map((task) => `${kept}:${task}`))
  const work = start(gone, () => {
    throw new Error('on purpose')
  })
  expect(await messageThrownBy(work)).toBe('on purpose')
  expect([await found(gone), await tasksOf(gone), await messages(gone)]).toEqual([undefined, [], []])
})

test('progress is visible after each task, and the last one completes the job with the aggregate of all', async () => {
  const { id } = await jobWith(3)
  expect(await end(id, done(2, 20))).toMatchObject({ status: 'running', done: 1, failed: 0, version: 2, result: null })
  expect(await end(id, done(0, 5))).toMatchObject({ status: 'running', done: 2, version: 3, result: null })
  expect(await end(id, done(1, 7))).toMatchObject({ status: 'completed', done: 3, version: 4 })
  expect(await found(id)).toMatchObject({ status: 'completed', done: 3, failed: 0, result: { tasks: 3, sum: 32 } })
})

const deliveries = integer({ min: 1, max: 6 }).chain((total) =>
  tuple(
    array(
      record({ task: integer({ min: 0, max: total - 1 }), fails: boolean(), result: integer({ min: 1, max: 1e6 }) }),
      {
        maxLength: 12,
      },
    ),
    integer({ min: total, max: total }),
  ),
)

/** What a job has to be after these, where the first that names a task counts. */
const expected = (total: number, counting: Delivery[]) => {
  const results = counting.filter(({ fails }) => !fails).map(({ result }) => result)
  const ended = counting.length === total
  const gaveUp = counting.length - results.length
  const status = gaveUp > 0 ? 'failed' : 'completed'
  return {
    total,
    done: results.length,
    failed: gaveUp,
    version: 1 + counting.length,
    status: ended ? status : 'running',
    result: ended ? aggregate(results.map(sumOf)) : null,
  }
}

test('each task counts once, by its first ending, whatever is repeated and in whatever order', async () => {
  await assert(
    asyncProperty(deliveries, async ([given, total]) => {
      const { id } = await jobWith(total)
      const counting: Delivery[] = []
      for (const delivery of given) {
        const fresh = !counting.some(({ task }) => task === delivery.task)
        if (fresh) counting.push(delivery)
        const job = await end(id, delivery)
        expect(job !== undefined).toBe(fresh)
        if (job) expect(job).toMatchObject(expected(total, counting))
      }
      expect(await found(id)).toMatchObject(expected(total, counting))
    }),
    { numRuns: 150 },
  )
})

test('each task counts once however many processes end it at the same moment', async () => {
  await assert(
    asyncProperty(deliveries, async ([given, total]) => {
      const { id } = await jobWith(total)
      const jobs = (await Promise.all(given.map((delivery) => end(id, delivery)))).filter((job) => job !== undefined)
      const named = new Set(given.map(({ task }) => task))
      // Which of several endings of a task came first is in its row.
      const counting = (await tasksOf(id))
        .filter(([, status]) => status !== 'pending')
        .map(([task, status, result]) => ({
          task: Number(task),
          fails: status === 'failed',
          result: Number(result),
        }))
      for (const { task, fails, result } of counting) {
        expect(given.some((one) => one.task === task && one.fails === fails && (fails || one.result === result))).toBe(
          true,
        )
      }
      expect(counting).toHaveLength(named.size)
      expect(await found(id)).toMatchObject(expected(total, counting))
      expect(jobs.map(({ version }) => version).toSorted((a, b) => a - b)).toEqual(
        counting.map((_, index) => index + 2),
      )
      expect(jobs.filter(({ status }) => status !== 'running')).toHaveLength(named.size === total ? 1 : 0)
    }),
    { numRuns: 150 },
  )
})

test('of the last two tasks at the same moment the second sees the first and completes the job', async () => {
  const { id } = await jobWith(2)
  let second: Promise<Job | undefined> | undefined
  const first = await schema.postgres.transaction(async ({ tx }) => {
    const job = await endIn(tx, id, done(0, 1))
    second = end(id, done(1, 2))
    await lockWaiters(schema.owner)
    return job
  })
  expect([first?.status, first?.done]).toEqual(['running', 1])
  expect(await second).toMatchObject({ status: 'completed', done: 2, result: { tasks: 2, sum: 3 } })
})

test('a task that was ended in a transaction which rolled back counts when it is ended again', async () => {
  const { id } = await jobWith(1)
  const work = schema.postgres.transaction(async ({ tx }) => {
    expect(await endIn(tx, id, done(0, 1))).toMatchObject({ status: 'completed' })
    throw new Error('on purpose')
  })
  expect(await messageThrownBy(work)).toBe('on purpose')
  expect(await found(id)).toMatchObject({ status: 'running', done: 0 })
  expect(await end(id, done(0, 2))).toMatchObject({ status: 'completed', result: { tasks: 1, sum: 2 } })
})

test('a job with a failed task is failed, says which and why, and reports what the others came to', async () => {
  const { id } = await jobWith(3)
  await end(id, done(0, 1))
  expect(await end(id, failed(1))).toMatchObject({ status: 'running', done: 1, failed: 1 })
  expect(await end(id, done(2, 2))).toMatchObject({
    status: 'failed',
    done: 2,
    failed: 1,
    result: { tasks: 2, sum: 3 },
  })
  expect(await tasksOf(id)).toEqual([
    [0, 'done', 1, null],
    [1, 'failed', null, 'task 1 failed'],
    [2, 'done', 2, null],
  ])
})

test('the deadline gives up what has not ended, and whatever comes later changes nothing', async () => {
  const { id } = await jobWith(4)
  await end(id, done(3, 5))
  const expired = await expire(id)
  expect(expired).toMatchObject({ status: 'failed', done: 1, failed: 3, version: 3, result: { tasks: 1, sum: 5 } })
  expect(await Promise.all([expire(id), end(id, done(0)), end(id, failed(1)), end(id, done(3, 6))])).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ])
  expect(await found(id)).toEqual(expired)
  expect(await tasksOf(id)).toEqual([
    ...[0, 1, 2].map((task) => [task, 'failed', null, 'the deadline came first']),
    [3, 'done', 5, null],
  ])
})

test('the deadline of a job that has ended changes nothing', async () => {
  const { id } = await jobWith(1)
  const completed = await end(id, done(0, 1))
  expect(await expire(id)).toBeUndefined()
  expect(await found(id)).toEqual(completed)
})

test('the deadline and the last task at the same moment end the job once', async () => {
  for (let round = 0; round < 20; round += 1) {
    const { id } = await jobWith(2)
    await end(id, done(0, 1))
    const ended = (await Promise.all([end(id, done(1, 2)), expire(id)])).filter((job) => job !== undefined)
    expect(ended).toHaveLength(1)
    expect(await found(id)).toEqual(ended[0])
    expect(['completed', 'failed']).toContain(String(ended[0]?.status))
  }
})

test('a task of no job, and a task that the job does not have, change nothing', async () => {
  const { id } = await jobWith(1)
  expect(await end(Bun.randomUUIDv7(), done(0))).toBeUndefined()
  expect(await end(id, done(1))).toBeUndefined()
  expect(await expire(Bun.randomUUIDv7())).toBeUndefined()
  expect(await found(id)).toMatchObject({ status: 'running', done: 0, version: 1 })
})

test('a job that was started before, and one without tasks, are refused', async () => {
  const { id } = await jobWith(2)
  expect(await messageThrownBy(jobWith(2, id))).toContain('Failed query')
  expect(await messageThrownBy(jobWith(0))).toContain('Failed query')
  expect(await found(id)).toMatchObject({ total: 2, version: 1 })
})

test('the jobs of a kind are read by their ids, or a page at a time', async () => {
  const other = { kind: 'another', data: null, total: 1, at }
  await schema.postgres.transaction(({ tx }) => startJob(tx, { ...other, id: Bun.randomUUIDv7() }))
  const jobs: Job[] = []
  for (let count = 0; count < 3; count += 1) jobs.push(await jobWith(1))
  const [first, second, third] = jobs
  const read = schema.postgres.read
  expect(await findJobs(read, kind, { ids: [third?.id ?? '', Bun.randomUUIDv7()] })).toEqual(jobs.slice(2))
  const pages: string[] = []
  for (let after: string | undefined; ;) {
    const page = await findJobs(read, kind, { after, limit: 2 })
    pages.push(...page.map(({ id }) => id))
    after = page.at(-1)?.id
    if (page.length < 2) break
  }
  expect(pages.slice(-3)).toEqual([first?.id ?? '', second?.id ?? '', third?.id ?? ''])
  expect(new Set(pages).size).toBe(pages.length)
  expect(await findJobs(read, 'another', { after: undefined, limit: 10 })).toHaveLength(1)
})
