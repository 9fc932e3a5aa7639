import { sql } from 'drizzle-orm'
import * as ordersEvents from '#events/orders'
import * as paymentsEvents from '#events/payments'
import * as usersEvents from '#events/users'
import { createConsumer, onBatch } from '#platform/messaging/consumer'
import type { EventType, Received } from '#platform/messaging/message'
import { createOutbox } from '#platform/messaging/outbox'
import type { Environment } from '../config.ts'
import { testSchema } from './database.ts'
import { silent, testBroker } from './messaging.ts'

type State = Record<string, unknown>

const isEvent = (value: unknown): value is EventType<string, unknown> =>
  typeof value === 'function' && 'topic' in value && (value.topic as { kind?: unknown }).kind === 'events'

const statuses: Record<string, string> = {
  'users.user-registered.v1': 'active',
  'users.user-closed.v1': 'closed',
  'orders.order-started.v1': 'pending',
  'orders.order-created.v1': 'pending',
  'orders.order-confirmed.v1': 'confirmed',
  'orders.order-cancelled.v1': 'cancelled',
  'payments.payment-requested.v1': 'pending',
  'payments.payment-captured.v1': 'captured',
  'payments.payment-declined.v1': 'declined',
  'payments.payment-refunded.v1': 'refunded',
}

/** What somebody who follows the events knows after the next one. */
const next = (before: State, { type, data }: Received): State => {
  const status = statuses[type]
  return { ...before, ...(status ? { status } : {}), ...(data as State) }
}

/** A module of another release, in a database of its own, that begins to follow every event of the others. */
export const lateJoiner = async (environment: Environment) => {
  const schema = await testSchema(
    `create table copies (key text not null, sequence int not null, state json not null, constraint copies_pkey primary key (key))`,
  )
  const { postgres } = schema
  const outbox = createOutbox<'late'>({
    source: 'late',
    postgres,
    newId: () => Bun.randomUUIDv7(),
    now: () => new Date(),
    committed: () => undefined,
  })
  const broker = testBroker({ KAFKA_BROKERS: environment['KAFKA_BROKERS'] ?? '' })
  const consumers = [usersEvents, ordersEvents, paymentsEvents].map((door) => {
    const types = Object.values(door).filter(isEvent)
    const [{ topic }] = types as [EventType<string, unknown>]
    const follow = onBatch<'late'>(types, async ({ tx }, messages) => {
      for (const message of messages) {
        const { key, sequence = 0 } = message
        const rows = (await tx.execute(sql`select state from copies where key = ${key}`)) as unknown as [string][]
        const state = JSON.stringify(next(rows[0] ? (JSON.parse(rows[0][0]) as State) : {}, message))
        await tx.execute(sql`insert into copies values (${key}, ${sequence}, ${state})
          on conflict (key) do update set sequence = excluded.sequence, state = excluded.state`)
      }
    })
    const definition = { topic, handlers: [follow] }
    const committed = () => undefined
    return createConsumer<'late'>({ module: 'late', definition, postgres, outbox, broker, log: silent, committed })
  })
  return {
    start: () => Promise.all(consumers.map((consumer) => consumer.start())),
    /** What it knows, by key. */
    copies: async (): Promise<Map<string, State>> => {
      const rows = await schema.owner.run('select key, sequence, state from orders.copies')
      return new Map(
        rows.map((row) => [
          String(row['key']),
          { ...(JSON.parse(String(row['state'])) as State), sequence: Number(row['sequence']) },
        ]),
      )
    },
    /** The messages that it could not apply. */
    held: () => schema.owner.run(`select key, type, sequence, code, status from orders.dead_letters`),
    stop: async () => {
      await Promise.all(consumers.map((consumer) => consumer.stop()))
      await schema.close()
    },
  }
}
