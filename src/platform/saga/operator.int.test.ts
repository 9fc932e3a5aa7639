import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { eventually } from '../../test/eventually.ts'
import { lockWaiters } from '../../test/mechanism.ts'
import { trace } from '../../test/messaging.ts'
import { thrownBy } from '../../test/thrown.ts'
import { type Trips, openTrips, refund, tripChanged } from '../../test/trips.ts'
import type { Operation } from './definition.ts'

setDefaultTimeout(60_000)

let trips: Trips

beforeAll(async () => {
  trips = await openTrips()
})

beforeEach(() => trips.clear())

afterAll(() => trips.schema.close())

const operate = (id: string, operation: Operation, by = 'ada') => trips.sagas.operate(trace(), { id, operation, by })

const paid = { is: 'done', data: { paymentId: 'p1' } } as const
const declined = { is: 'failed', error: { code: 'declined', message: 'The payment was declined.' } } as const

const throws = () => {
  throw new Error('a bug')
}

/** A trip whose seat cannot be released. */
const stuckTrip = async (story = trace()) => {
  const id = await trips.start(story)
  trips.does.release = throws
  await trips.hear([id], 'pay', declined)
  await trips.makeDue(id)
  const worker = trips.fireTimers()
  await eventually(async () => expect(await trips.stateOf(id)).toMatchObject({ status: 'needs-operator' }))
  await worker.stop()
  delete trips.does.release
  return id
}

test('the sagas that wait for an operator are listed, oldest first, with what they are stuck at', async () => {
  expect(await trips.sagas.list()).toEqual([])
  await trips.start()
  const [first, second] = [await stuckTrip(), await stuckTrip()]
  expect((await trips.sagas.list()).map(({ id }) => id)).toEqual([first, second])
  expect((await trips.sagas.list({ limit: 1 })).map(({ id }) => id)).toEqual([first])
  expect(await trips.sagas.find(first)).toMatchObject({
    id: first,
    name: 'trip',
    status: 'needs-operator',
    error: { code: 'declined', message: 'The payment was declined.' },
    steps: [
      { name: 'reserve', status: 'done', error: { code: 'fault', message: 'a bug' }, tries: 3 },
      { name: 'pay', status: 'failed', error: { code: 'declined' }, tries: 1 },
      { name: 'book', status: 'pending', error: null, tries: 0 },
    ],
  })
  expect(await trips.sagas.find(Bun.randomUUIDv7())).toBeUndefined()
})

test('a retry that succeeds ends the saga, in its own story, and who asked stays in the history', async () => {
  const story = trace()
  const id = await stuckTrip(story)
  expect(await operate(id, 'retry')).toMatchObject({ id, status: 'compensated' })
  expect(await trips.seats(id)).toEqual([])
  expect((await trips.sagas.find(id))?.history.at(-1)).toMatchObject({
    status: 'compensated',
    heard: [
      { type: 'retry', by: 'ada' },
      { type: 'outcome', step: 'reserve', outcome: { is: 'undone' } },
    ],
  })
  expect(
    await trips.column('select correlation_id as value from orders.outbox where key = $1 order by id desc limit 1', [
      id,
    ]),
  ).toEqual([story.correlationId])
})

test('a retry that fails again rests and is tried again as often as at first', async () => {
  const id = await stuckTrip()
  trips.does.release = throws
  expect(await operate(id, 'retry')).toMatchObject({ status: 'compensating' })
  expect(await trips.timers(id)).toEqual(['trip:reserve:undo:4'])
  expect(await trips.sagas.list()).toEqual([])
})

test('a skip takes the word of the operator: nothing is undone, and the saga ends', async () => {
  const id = await stuckTrip()
  expect(await operate(id, 'skip', 'bob')).toMatchObject({ status: 'compensated' })
  expect(await trips.seats(id)).toHaveLength(1)
  expect((await trips.sagas.find(id))?.history.at(-1)).toMatchObject({ heard: [{ type: 'skip', by: 'bob' }] })
})

test('a saga that is still running is rolled back when an operator asks, whatever is under way', async () => {
  const id = await trips.start()
  expect(await operate(id, 'compensate', 'eve')).toMatchObject({
    status: 'compensating',
    error: { code: 'stopped-by-operator' },
  })
  expect(await trips.timers(id)).toEqual(['trip:pay:undo:1'])
  expect((await trips.messages(id)).slice(3)).toEqual([refund.type, tripChanged.type])
  expect((await trips.sagas.find(id))?.history.at(-1)).toMatchObject({ heard: [{ type: 'compensate', by: 'eve' }] })
})

test('what the state of a saga does not allow is an answer and changes nothing', async () => {
  const running = await trips.start()
  const completed = await trips.start()
  await trips.hear([completed], 'pay', paid)
  const waiting = await stuckTrip()
  const forbidden: [string, Operation][] = [
    [running, 'retry'],
    [running, 'skip'],
    [completed, 'retry'],
    [completed, 'skip'],
    [completed, 'compensate'],
    [waiting, 'compensate'],
  ]
  for (const [id, operation] of forbidden) {
    const before = [await trips.stateOf(id), await trips.messages(id), await trips.timers(id)]
    expect(await thrownBy(operate(id, operation))).toMatchObject({ code: 'not-possible' })
    expect([await trips.stateOf(id), await trips.messages(id), await trips.timers(id)]).toEqual(before)
  }
  expect(await thrownBy(operate(Bun.randomUUIDv7(), 'retry'))).toMatchObject({ code: 'not-found' })
})

test('of two operators at the same moment one is heard', async () => {
  const id = await stuckTrip()
  const story = trace()
  let second: Promise<unknown> | undefined
  await trips.run(story, async (context) => {
    await trips.saga.operate(context, { id, operation: 'skip', by: 'ada' })
    second = thrownBy(operate(id, 'retry', 'bob'))
    await lockWaiters(trips.schema.owner)
  })
  expect(await second).toMatchObject({ code: 'not-possible' })
  expect(await trips.seats(id)).toHaveLength(1)
})
