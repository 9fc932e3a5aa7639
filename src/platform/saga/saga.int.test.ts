import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { lockWaiters, watched } from '../../test/mechanism.ts'
import { counted, pay, trace } from '../../test/messaging.ts'
import { messageThrownBy } from '../../test/thrown.ts'
import { type Trips, openTrips, refund, tripChanged } from '../../test/trips.ts'
import { DomainError } from '../errors.ts'
import { historyOf } from './store.ts'

setDefaultTimeout(60_000)

let trips: Trips

beforeAll(async () => {
  trips = await openTrips()
})

beforeEach(() => trips.clear())

afterAll(() => trips.schema.close())

const refuse = () => {
  throw new DomainError('sold-out', 'There is no seat left.')
}
const paid = { is: 'done', data: { paymentId: 'p1' } } as const
const declined = { is: 'failed', error: { code: 'declined', message: 'The payment was declined.' } } as const

/** Everything that a trip is to Postgres; the same means that nothing was written. */
const everythingOf = async (id: string) => [
  await trips.column('select xmin::text || state as value from orders.sagas where id = $1', [id]),
  await trips.column('select version as value from orders.saga_history where saga_id = $1 order by 1', [id]),
  await trips.timers(id),
  await trips.messages(id),
]

test('a start emits its command once, and its state, history, timer and messages are one commit', async () => {
  const id = await trips.start()
  expect(await trips.stateOf(id)).toEqual({
    status: 'running',
    version: 1,
    error: null,
    steps: 'done running pending',
    data: { seat: `seat of ${id}`, paymentId: null },
  })
  expect(await trips.messages(id)).toEqual([counted.type, pay.type, tripChanged.type])
  expect(await trips.timers(id)).toEqual(['trip:pay:step:1'])
  expect(
    await trips.column(`select distinct xmin::text as value from (select xmin from orders.sagas
    union all select xmin from orders.saga_history union all select xmin from orders.timers
    union all select xmin from orders.outbox) as row`),
  ).toHaveLength(1)
})

test('a start whose transaction rolls back leaves nothing, and can be repeated', async () => {
  const id = Bun.randomUUIDv7()
  const work = trips.run(trace(), async (context) => {
    await trips.begin(context, { id, replyKey: id })
    throw new Error('on purpose')
  })
  expect(await messageThrownBy(work)).toBe('on purpose')
  expect([await trips.stateOf(id), await trips.seats(id), ...(await everythingOf(id))]).toEqual([
    undefined,
    ...Array.from({ length: 5 }, () => []),
  ])
  await trips.start(trace(), id)
  expect(await trips.stateOf(id)).toMatchObject({ status: 'running', version: 1 })
})

test('a trip that was started already is not started again, and no other takes its reply key', async () => {
  const id = await trips.start()
  const before = await everythingOf(id)
  const startAs = (sagaId: string) =>
    messageThrownBy(
      trips.run(trace(), (context) => trips.begin(context, { id: sagaId, replyKey: id, seat: 'another' })),
    )
  expect(await startAs(id)).toContain('saga_history_pkey')
  expect(await startAs(Bun.randomUUIDv7())).toContain('sagas_reply_key_key')
  expect(await everythingOf(id)).toEqual(before)
})

test('a refused local step takes back what it wrote and emitted, and nothing else: the trip says why it ended', async () => {
  trips.does.reserve = async (tx, [trip]) => {
    // Refused by Postgres first, which ends a transaction that has no savepoint.
    await tx.execute(sql`insert into seats values (${trip?.data.seat ?? ''}, 'somebody')`).catch(() => undefined)
    refuse()
  }
  const id = await trips.start()
  expect(await trips.stateOf(id)).toMatchObject({
    status: 'compensated',
    version: 1,
    error: 'sold-out',
    steps: 'failed pending pending',
  })
  expect([await trips.seats(id), await trips.messages(id), await trips.timers(id)]).toEqual([
    [],
    [tripChanged.type],
    [],
  ])
})

test('a local step that is refused in the middle takes back its own writes and rolls back those before it', async () => {
  const id = await trips.start()
  trips.does.book = refuse
  await trips.hear([id], 'pay', paid)
  expect(await trips.stateOf(id)).toMatchObject({ status: 'compensating', version: 2, error: 'sold-out' })
  expect([await trips.bookings(id), await trips.timers(id)]).toEqual([[], ['trip:pay:undo:1']])
  expect((await trips.messages(id)).slice(3)).toEqual([refund.type, tripChanged.type])
  await trips.hear([id], 'pay', { is: 'undone' })
  expect(await trips.stateOf(id)).toMatchObject({
    status: 'compensated',
    version: 3,
    error: 'sold-out',
    steps: 'compensated compensated failed',
  })
  expect([await trips.seats(id), await trips.timers(id)]).toEqual([[], []])
})

test('a fault in a local step rolls the whole transition back, and it succeeds when it is repeated', async () => {
  const id = await trips.start()
  const before = await everythingOf(id)
  trips.does.book = () => {
    throw new Error('a bug')
  }
  expect(await messageThrownBy(trips.hear([id], 'pay', paid))).toBe('a bug')
  expect([await everythingOf(id), await trips.bookings(id)]).toEqual([before, []])
  delete trips.does.book
  await trips.hear([id], 'pay', paid)
  expect(await trips.stateOf(id)).toMatchObject({ status: 'completed', version: 2 })
})

test('replies take a trip to its end, with what each step learned', async () => {
  const id = await trips.start()
  await trips.hear([id], 'pay', paid)
  expect(await trips.stateOf(id)).toEqual({
    status: 'completed',
    version: 2,
    error: null,
    steps: 'done done done',
    data: { seat: `seat of ${id}`, paymentId: 'p1', booked: true },
  })
  expect([await trips.bookings(id), await trips.timers(id)]).toEqual([[id], []])
  expect((await trips.messages(id)).slice(3)).toEqual([tripChanged.type])
  expect(
    (await historyOf(trips.schema.postgres.read, id)).map(({ version, status, heard }) => [version, status, heard]),
  ).toEqual([
    [1, 'running', [{ type: 'started' }, { type: 'outcome', step: 'reserve', outcome: { is: 'done' } }]],
    [
      2,
      'completed',
      [
        { type: 'outcome', step: 'pay', outcome: paid },
        { type: 'outcome', step: 'book', outcome: { is: 'done', data: { booked: true } } },
      ],
    ],
  ])
})

test('a refusal by the other side rolls back what was done, and the error stays', async () => {
  const id = await trips.start()
  await trips.hear([id], 'pay', declined)
  expect(await trips.stateOf(id)).toMatchObject({
    status: 'compensated',
    version: 2,
    error: 'declined',
    steps: 'compensated failed pending',
  })
  expect([await trips.seats(id), await trips.timers(id)]).toEqual([[], []])
  expect((await trips.messages(id)).slice(3)).toEqual([tripChanged.type])
})

test('replies that come twice, late, for another step or for no trip change nothing', async () => {
  const id = await trips.start()
  await trips.hear([id, id, id], 'pay', paid)
  const before = await everythingOf(id)
  expect(await trips.stateOf(id)).toMatchObject({ status: 'completed', version: 2 })
  await trips.hear([id], 'pay', paid)
  await trips.hear([id], 'pay', declined)
  await trips.hear([id], 'reserve', { is: 'undone' })
  await trips.hear([id], 'unheard-of', paid)
  await trips.hear([Bun.randomUUIDv7()], 'pay', paid)
  expect(await everythingOf(id)).toEqual(before)
  expect(trips.together.filter(({ step }) => step === 'book')).toHaveLength(1)
})

test('many trips in one transaction share its statements and their local steps', async () => {
  const heardBy = async (count: number) => {
    const ids: string[] = []
    for (let index = 0; index < count; index += 1) ids.push(await trips.start())
    const postgres = watched(trips.schema.postgres)
    await trips.hear(ids, 'pay', paid, { postgres })
    for (const id of ids) expect(await trips.stateOf(id)).toMatchObject({ status: 'completed', version: 2 })
    return postgres.seen.statements
  }
  const one = await heardBy(1)
  expect(await heardBy(40)).toBe(one)
  expect(trips.together.filter(({ step }) => step === 'book').map(({ trips }) => trips)).toEqual([1, 40])
})

test('a refusal of one among many fails the transaction as a whole, and each alone has its own end', async () => {
  const ids = [await trips.start(), await trips.start(), await trips.start()]
  const [, full = ''] = ids
  const before = await Promise.all(ids.map(everythingOf))
  trips.does.book = (_, booking) => {
    if (booking.some(({ id }) => id === full)) refuse()
  }
  expect(await messageThrownBy(trips.hear(ids, 'pay', paid))).toBe('There is no seat left.')
  expect(await Promise.all(ids.map(everythingOf))).toEqual(before)
  for (const id of ids) await trips.hear([id], 'pay', paid)
  const states = await Promise.all(ids.map(trips.stateOf))
  expect(states.map((state) => state?.status)).toEqual(['completed', 'compensating', 'completed'])
})

test('two processes that hear the same reply at the same moment advance the trip once', async () => {
  const id = await trips.start()
  const story = trace()
  let second: Promise<void> | undefined
  await trips.run(story, async ({ transaction, now, emit }) => {
    await trips.saga.hear({ transaction, now }, [{ key: id, step: 'pay', outcome: paid, trace: story, emit }])
    second = trips.hear([id], 'pay', paid)
    await lockWaiters(trips.schema.owner)
  })
  await second
  expect(await trips.stateOf(id)).toMatchObject({ status: 'completed', version: 2 })
  expect((await trips.messages(id)).slice(3)).toEqual([tripChanged.type])
  expect(trips.together.filter(({ step }) => step === 'book')).toHaveLength(1)
})

test('two processes that hear many replies in different orders neither deadlock nor move a trip twice', async () => {
  const ids: string[] = []
  for (let index = 0; index < 20; index += 1) ids.push(await trips.start())
  await Promise.all([
    trips.hear(ids, 'pay', declined),
    trips.hear(ids.toReversed(), 'pay', declined),
    trips.hear(
      ids.toSorted(() => 0.5 - Math.random()),
      'pay',
      declined,
    ),
  ])
  for (const id of ids) expect(await trips.stateOf(id)).toMatchObject({ status: 'compensated', version: 2 })
})

test('what a trip hears in several parts of one transaction is taken in one after the other', async () => {
  const [id, story] = [Bun.randomUUIDv7(), trace()]
  trips.does.book = refuse
  await trips.run(story, async (context) => {
    const { emit } = context
    const reply = { key: id, step: 'pay', trace: story, emit }
    await trips.begin(context, { id, replyKey: id })
    await trips.saga.hear(context, [{ ...reply, outcome: paid }])
    await trips.saga.hear(context, [{ ...reply, outcome: { is: 'undone' } }])
  })
  expect(await trips.stateOf(id)).toMatchObject({ status: 'compensated', version: 3, error: 'sold-out' })
  expect(await trips.timers(id)).toEqual([])
})

test('trips are read by their ids, or a page at a time', async () => {
  const ids = [await trips.start(), await trips.start(), await trips.start()]
  const idsOf = async (wanted: Parameters<typeof trips.saga.find>[1]) =>
    (await trips.saga.find(trips.schema.postgres.read, wanted)).map(({ id }) => id)
  expect(await idsOf({ ids: [ids[1] ?? '', Bun.randomUUIDv7()] })).toEqual(ids.slice(1, 2))
  expect(await idsOf({ after: undefined, limit: 2 })).toEqual(ids.slice(0, 2))
  expect(await idsOf({ after: ids[1], limit: 2 })).toEqual(ids.slice(2))
})
