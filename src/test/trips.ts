import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Log } from '#platform/log'
import { type Trace, commandTopic, defineCommand, defineEvent, eventTopic } from '#platform/messaging/message'
import type { Postgres, Tx } from '#platform/postgres'
import type { Outcome, SagaDefinition, StepDefinition } from '#platform/saga/definition'
import { createSagas } from '#platform/saga/operator'
import { type AtStep, type SagaContext, createSaga } from '#platform/saga/saga'
import { createTimers } from '#platform/timers'
import { type TestSchema, testSchema } from './database.ts'
import { outboxOn } from './mechanism.ts'
import { counted, pay, silent, trace } from './messaging.ts'

/** What a trip knows. */
type Trip = { seat: string; paymentId: string | null; booked?: boolean }

const step = (name: string, kind: StepDefinition['kind'], compensation: StepDefinition['compensation']) => ({
  name,
  kind,
  compensation,
  timeoutMs: 60_000,
  retries: 1,
  retryOn: ['busy'],
  undoRetries: 2,
  backoff: { firstMs: 30_000, maxMs: 60_000 },
})

const definition: SagaDefinition = {
  name: 'trip',
  steps: [step('reserve', 'local', 'local'), step('pay', 'command', 'command'), step('book', 'local', 'none')],
}

/** Takes back what `pay` asked for. */
export const refund = defineCommand(
  commandTopic('payments', 'test-payment-commands'),
  'payments.give-back.v1',
  z.object({ amount: z.int() }),
)

export const tripChanged = defineEvent(
  eventTopic('orders', 'test-trip-events'),
  'orders.trip-changed.v1',
  z.object({ status: z.string() }),
)

const tables = `create table seats (seat text not null, taken_by text not null, constraint seats_pkey primary key (seat));
  create table bookings (trip text not null, constraint bookings_pkey primary key (trip))`

type Behaviour = (tx: Tx, trips: AtStep<'orders', Trip>[]) => Promise<unknown> | void

/**
 * A small orchestration in a database of its own: a seat is reserved here, paid for elsewhere, and booked here. `does`
 * says what a local step does besides its work, after it.
 */
export const openTrips = async () => {
  const schema: TestSchema = await testSchema(tables)
  const does: { reserve?: Behaviour; release?: Behaviour; book?: Behaviour } = {}
  /** How many trips each call of a local step took together. */
  const together: { step: string; trips: number }[] = []

  const saga = createSaga<'orders', Trip>({
    definition,
    local: {
      reserve: {
        run: async (tx, trips) => {
          together.push({ step: 'reserve', trips: trips.length })
          const rows = sql.join(
            trips.map(({ id, data }) => sql`(${data.seat}, ${id})`),
            sql`, `,
          )
          await tx.execute(sql`insert into seats values ${rows}`)
          for (const { id, data, emit } of trips) emit(counted(id, 1, { count: 1, note: data.seat }))
          await does.reserve?.(tx, trips)
        },
        undo: async (tx, trips) => {
          together.push({ step: 'release', trips: trips.length })
          const ids = sql.join(
            trips.map(({ id }) => sql`${id}`),
            sql`, `,
          )
          await tx.execute(sql`delete from seats where taken_by in (${ids})`)
          await does.release?.(tx, trips)
        },
      },
      book: {
        run: async (tx, trips) => {
          together.push({ step: 'book', trips: trips.length })
          const rows = sql.join(
            trips.map(({ id }) => sql`(${id})`),
            sql`, `,
          )
          await tx.execute(sql`insert into bookings values ${rows}`)
          await does.book?.(tx, trips)
          return trips.map(() => ({ booked: true }))
        },
      },
    },
    commands: {
      pay: {
        send: ({ id }) => pay(id, id, { amount: 5 }),
        undo: ({ id }) => refund(id, id, { amount: 5 }),
      },
    },
    changed: ({ id, version, state }) => tripChanged(id, version, { status: state.status }),
  })

  const run = <T>(
    story: Trace,
    work: (context: SagaContext & { emit: Parameters<typeof saga.operate>[0]['emit']; trace: Trace }) => Promise<T>,
    postgres: Pick<Postgres, 'transaction'> = schema.postgres,
  ) =>
    outboxOn(postgres).transact(story)((_, emit, transaction) =>
      work({ transaction, emit, trace: story, now: new Date() }),
    )

  const begin = (
    { emit, trace: story, ...context }: Parameters<Parameters<typeof run>[1]>[0],
    { id, replyKey, seat = `seat of ${id}` }: { id: string; replyKey: string; seat?: string },
  ) => saga.start(context, [{ id, replyKey, data: { seat, paymentId: null }, trace: story, emit }])

  const column = async (statement: string, parameters: string[] = []): Promise<string[]> =>
    (await schema.owner.run(statement, parameters)).map((row) => String(row['value']))

  return {
    schema,
    saga,
    does,
    together,
    run,
    begin,
    column,
    sagas: createSagas({
      sagas: [saga],
      read: schema.postgres.read,
      transact: (story) => outboxOn(schema.postgres).transact(story),
      now: () => new Date(),
    }),
    /** Begins a trip and answers with its id, which is its reply key too. */
    start: async (story = trace(), id: string = Bun.randomUUIDv7()): Promise<string> => {
      await run(story, (context) => begin(context, { id, replyKey: id }))
      return id
    },
    /** Tells the trips, all in one transaction, what became of a step. */
    hear: (
      ids: string[],
      step: string,
      outcome: Outcome<Trip>,
      { story = trace(), postgres }: { story?: Trace; postgres?: Pick<Postgres, 'transaction'> } = {},
    ) =>
      run(
        story,
        ({ transaction, now, emit }) =>
          saga.hear(
            { transaction, now },
            ids.map((key) => ({ key, step, outcome, trace: story, emit })),
          ),
        postgres,
      ),
    /** Fires timers as one process would; what they set is due at once, unless `inTime`. */
    fireTimers: (options: { inTime?: boolean; log?: Log; postgres?: Postgres } = {}) => {
      const { inTime = false, log = silent, postgres = schema.postgres } = options
      const given = saga.timer(() => new Date())
      const hurried: typeof given = {
        ...given,
        fire: async (context, timer) => {
          await given.fire(context, timer)
          await context.transaction.run('update timers set due_at = now() where set_at = now()')
        },
      }
      const worker = createTimers<'orders'>({
        definitions: [inTime ? given : hurried],
        postgres,
        outbox: outboxOn(postgres),
        committed: () => undefined,
        log,
        pollMs: 20,
      })
      worker.start()
      return worker
    },
    /** Brings what a trip waits for to now. */
    makeDue: (id: string) => schema.owner.run(`update orders.timers set due_at = now() where key like $1 || '%'`, [id]),
    /** What a trip has come to, and how often it has moved. */
    stateOf: async (id: string) => {
      const [row] = await saga.find(schema.postgres.read, { ids: [id] })
      if (!row) return undefined
      const { state, version } = row
      return {
        status: state.status,
        version,
        error: state.error?.code ?? null,
        steps: state.steps.map(({ status }) => status).join(' '),
        data: state.data,
      }
    },
    /** The types of the messages about a trip that wait in the outbox, in their order. */
    messages: (id: string) => column('select type as value from orders.outbox where key = $1 order by id', [id]),
    timers: (id: string) =>
      column(`select replace(key, $1, 'trip') as value from orders.timers where key like $1 || '%' order by key`, [id]),
    seats: (id: string) => column('select seat as value from orders.seats where taken_by = $1', [id]),
    bookings: (id: string) => column('select trip as value from orders.bookings where trip = $1', [id]),
    clear: async () => {
      for (const name of ['reserve', 'release', 'book'] as const) delete does[name]
      together.length = 0
      await schema.owner.script(
        'truncate orders.sagas, orders.saga_history, orders.timers, orders.outbox, orders.seats, orders.bookings',
      )
    },
  }
}

export type Trips = Awaited<ReturnType<typeof openTrips>>
