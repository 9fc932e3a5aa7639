import { afterAll, afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { eventually } from '../../test/eventually.ts'
import { keptLog, lockWaiters, watched } from '../../test/mechanism.ts'
import { counted, pay, trace } from '../../test/messaging.ts'
import { messageThrownBy } from '../../test/thrown.ts'
import { type Trips, openTrips, refund, tripChanged } from '../../test/trips.ts'
import { UnavailableError, isTransient } from '../errors.ts'
import type { Worker } from '../worker.ts'

setDefaultTimeout(60_000)

let trips: Trips
const workers: Worker[] = []

beforeAll(async () => {
  trips = await openTrips()
})

beforeEach(() => trips.clear())

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop()))
})

afterAll(() => trips.schema.close())

const fire = (options: Parameters<Trips['fireTimers']>[0] = {}) => void workers.push(trips.fireTimers(options))

const eventuallyIs = (id: string, status: string, version: number) =>
  eventually(async () => expect(await trips.stateOf(id)).toMatchObject({ status, version }))

const paid = { is: 'done', data: { paymentId: 'p1' } } as const
const declined = { is: 'failed', error: { code: 'declined', message: 'The payment was declined.' } } as const
const busy = { is: 'failed', error: { code: 'busy', message: 'The bank is busy.' } } as const
const stuck = { is: 'undo-failed', error: { code: 'stuck', message: 'The bank is closed.' } } as const

const throws = () => {
  throw new Error('a bug')
}

test('a command that is not answered in time is sent again, then given up and rolled back, all in one story', async () => {
  const story = trace()
  const id = await trips.start(story)
  fire({ inTime: true })
  await trips.makeDue(id)
  await eventuallyIs(id, 'running', 2)
  expect((await trips.messages(id)).slice(3)).toEqual([pay.type, tripChanged.type])
  expect(await trips.timers(id)).toEqual(['trip:pay:step:2'])
  await trips.makeDue(id)
  await eventuallyIs(id, 'compensating', 3)
  expect(await trips.stateOf(id)).toMatchObject({ error: 'timeout', steps: 'done failed pending' })
  expect((await trips.messages(id)).slice(5)).toEqual([refund.type, tripChanged.type])
  expect(await trips.timers(id)).toEqual(['trip:pay:undo:1'])
  await trips.hear([id], 'pay', { is: 'undone' }, { story })
  expect(await trips.stateOf(id)).toMatchObject({ status: 'compensated', error: 'timeout' })
  expect([await trips.seats(id), await trips.timers(id)]).toEqual([[], []])
  expect(await trips.column('select distinct correlation_id as value from orders.outbox')).toEqual([
    story.correlationId,
  ])
  expect(await trips.column('select distinct causation_id as value from orders.outbox')).toEqual([story.causationId])
})

test('a reply that comes while the timer fires wins: nothing is sent again, and nobody deadlocks', async () => {
  const id = await trips.start()
  const postgres = watched(trips.schema.postgres)
  const { log, lines } = keptLog()
  const story = trace()
  await trips.makeDue(id)
  await trips.run(story, async ({ transaction, now, emit }) => {
    await transaction.run('select id from sagas where id = $1 for update', [id])
    fire({ postgres, log })
    await lockWaiters(trips.schema.owner)
    await trips.saga.hear({ transaction, now }, [{ key: id, step: 'pay', outcome: paid, trace: story, emit }])
  })
  const other = await trips.start()
  await trips.makeDue(other)
  await eventually(async () => expect((await trips.stateOf(other))?.version).toBeGreaterThan(1))
  expect(await trips.stateOf(id)).toMatchObject({ status: 'completed', version: 2 })
  expect((await trips.messages(id)).slice(3)).toEqual([tripChanged.type])
  expect([postgres.seen.errors.filter(isTransient), lines]).toEqual([[], []])
})

test('what a saga waits for falls due in time, although the clock of the process was wrong', async () => {
  const id: string = Bun.randomUUIDv7()
  for (const offMs of [3_600_000, -3_600_000]) {
    await trips.clear()
    const now = new Date(Date.now() + offMs)
    await trips.run(trace(), (context) => trips.begin({ ...context, now }, { id, replyKey: id }))
    const [wait] = await trips.column('select extract(epoch from due_at - set_at) as value from orders.timers')
    expect(Number(wait)).toBeCloseTo(60, 0)
  }
})

test('a command that is refused for now rests until its next try, however long that takes', async () => {
  const id = await trips.start()
  await trips.hear([id], 'pay', busy)
  expect(await trips.stateOf(id)).toMatchObject({ status: 'running', version: 2 })
  expect(await trips.timers(id)).toEqual(['trip:pay:step:1'])
  // The rest that was asked for, and not the time that the answer might have taken.
  const [wait] = await trips.column('select extract(epoch from due_at - now()) as value from orders.timers')
  expect(Number(wait)).toBeLessThan(31)
  await trips.hear([id], 'pay', busy)
  expect(await trips.stateOf(id)).toMatchObject({ status: 'running', version: 2 })
  fire({ inTime: true })
  await trips.makeDue(id)
  await eventuallyIs(id, 'running', 3)
  expect((await trips.messages(id)).slice(4)).toEqual([pay.type, tripChanged.type])
  await trips.hear([id], 'pay', paid)
  expect(await trips.stateOf(id)).toMatchObject({ status: 'completed', version: 4 })
  expect(await trips.timers(id)).toEqual([])
})

test('a compensation that the other side cannot do is asked for again, then waits for an operator', async () => {
  const id = await trips.start()
  trips.does.book = () => Promise.reject(new UnavailableError('The book is away.'))
  expect(await messageThrownBy(trips.hear([id], 'pay', paid))).toBe('The book is away.')
  expect(await trips.stateOf(id)).toMatchObject({ status: 'running', version: 1 })
  await trips.run(trace(), (context) => trips.saga.operate(context, { id, operation: 'compensate', by: 'ada' }))
  expect(await trips.timers(id)).toEqual(['trip:pay:undo:1'])
  fire({ inTime: true })
  for (const attempt of [1, 2, 3]) {
    await trips.hear([id], 'pay', stuck)
    if (attempt === 3) break
    expect(await trips.timers(id)).toEqual([`trip:pay:undo:${attempt}`])
    await trips.makeDue(id)
    await eventually(async () => expect(await trips.timers(id)).toEqual([`trip:pay:undo:${attempt + 1}`]))
  }
  expect(await trips.stateOf(id)).toMatchObject({ status: 'needs-operator', error: 'stopped-by-operator' })
  expect([await trips.timers(id), (await trips.messages(id)).filter((type) => type === refund.type)]).toEqual([
    [],
    [refund.type, refund.type, refund.type],
  ])
  expect(await trips.seats(id)).toHaveLength(1)
})

test('a fault in a local compensation is tried again by durable timers, its writes taken back, then waits for an operator', async () => {
  const id = await trips.start()
  trips.does.release = throws
  await trips.hear([id], 'pay', declined)
  expect(await trips.stateOf(id)).toMatchObject({ status: 'compensating', version: 2, error: 'declined' })
  expect([await trips.seats(id), await trips.timers(id)]).toEqual([[`seat of ${id}`], ['trip:reserve:undo:1']])
  await trips.makeDue(id)
  fire()
  await eventually(async () => expect(await trips.stateOf(id)).toMatchObject({ status: 'needs-operator' }))
  expect(await trips.seats(id)).toHaveLength(1)
  expect(await trips.timers(id)).toEqual([])
  expect(trips.together.filter(({ step }) => step === 'release')).toHaveLength(3)
})

test('a local compensation that succeeds at a later try has its effect once', async () => {
  const id = await trips.start()
  trips.does.release = throws
  await trips.hear([id], 'pay', declined)
  delete trips.does.release
  fire()
  await trips.makeDue(id)
  await eventuallyIs(id, 'compensated', 3)
  expect([await trips.seats(id), await trips.timers(id)]).toEqual([[], []])
})

test('a service that is away is no failed compensation: nothing is written, and the reply is heard again', async () => {
  const id = await trips.start()
  trips.does.release = () => Promise.reject(new UnavailableError('The seats are away.'))
  expect(await messageThrownBy(trips.hear([id], 'pay', declined))).toBe('The seats are away.')
  expect(await trips.stateOf(id)).toMatchObject({ status: 'running', version: 1 })
  expect(await trips.messages(id)).toEqual([counted.type, pay.type, tripChanged.type])
  delete trips.does.release
  await trips.hear([id], 'pay', declined)
  expect(await trips.stateOf(id)).toMatchObject({ status: 'compensated', version: 2 })
})

test('timers of many trips are fired by several processes, each once', async () => {
  const ids: string[] = []
  for (let index = 0; index < 60; index += 1) ids.push(await trips.start())
  await trips.schema.owner.script('update orders.timers set due_at = now()')
  for (const postgres of [trips.schema.open(2), trips.schema.open(2), trips.schema.open(2)]) {
    fire({ inTime: true, postgres })
  }
  await eventually(async () => {
    const states = await Promise.all(ids.map(trips.stateOf))
    expect(states.filter((state) => state?.version === 2)).toHaveLength(ids.length)
  })
  expect(await trips.column('select count(*) as value from orders.outbox where type = $1', [pay.type])).toEqual(['120'])
  expect(await trips.column('select count(*) as value from orders.timers')).toEqual(['60'])
})
