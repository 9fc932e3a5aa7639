import { integer, pgTable, text, uuid } from 'drizzle-orm/pg-core'
import { z } from 'zod'
import { toHeaders } from '#platform/messaging/cloud-event'
import { type Handler, createConsumer, onBatch, onEach } from '#platform/messaging/consumer'
import type { Broker, OutgoingRecord } from '#platform/messaging/kafka'
import { defineEvent, eventTopic } from '#platform/messaging/message'
import { createOutbox } from '#platform/messaging/outbox'
import { type Postgres, openPostgres } from '#platform/postgres'
import { bareProducer, createTopic, ourBroker } from './bare-kafka.ts'
import { asOwner } from './environment.ts'
import { type Bench, type Row, type Scenario, alternate } from './scenario.ts'

const effects = pgTable('bench_effects', {
  messageId: uuid('message_id').notNull(),
  key: text('key').notNull(),
  amount: integer('amount').notNull(),
})

/** Nobody relays here: the handlers emit nothing. */
const committed = () => {}

const handleLimitMs = 120_000

type Way = { name: 'each' | 'set' | 'one'; batchSize: number; count: number }

const eventOn = (name: string) =>
  defineEvent(eventTopic('users', name), 'users.bench-counted.v1', z.object({ amount: z.int() }))

type Counted = ReturnType<typeof eventOn>

/** One insert a message, as a handler is usually written. */
const insertEach = (type: Counted): Handler<'users'> =>
  onEach<'users', { amount: number }>(type, async ({ tx }, { id, key, data }) => {
    await tx.insert(effects).values({ messageId: id, key, amount: data.amount })
  })

/** One insert for all the messages of a batch. */
const insertSet = (type: Counted): Handler<'users'> =>
  onBatch<'users'>([type], async ({ tx }, messages) => {
    await tx
      .insert(effects)
      .values(
        messages.map(({ id, key, data }) => ({ messageId: id, key, amount: (data as { amount: number }).amount })),
      )
  })

const messageOn = (topic: string, n: number): OutgoingRecord => {
  const key = Bun.randomUUIDv7()
  const value = JSON.stringify({ amount: n })
  const trace = { correlationId: key, causationId: key }
  const time = new Date().toISOString()
  const id = Bun.randomUUIDv7()
  const type = 'users.bench-counted.v1'
  return {
    topic,
    key,
    value,
    headers: toHeaders({ id, topic, key, type, source: 'users', subject: key, sequence: 1, time, trace, value }),
  }
}

/** Notes when the first message arrives and resolves when `count` of them are done. */
const watched = (broker: Broker, count: number) => {
  let startedAt = 0
  let done = 0
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  setTimeout(() => reject(new Error(`${count} messages took longer than ${handleLimitMs} ms`)), handleLimitMs).unref()
  const subscribe: Broker['subscribe'] = (options) =>
    broker.subscribe({
      ...options,
      handle: async (batch) => {
        startedAt ||= performance.now()
        await options.handle(batch)
        done += batch.records.length
        if (done >= count) resolve(count / ((performance.now() - startedAt) / 1_000))
      },
    })
  return { broker: { ...broker, subscribe }, rate: promise }
}

/** Consumes `count` messages that wait on a new topic, and returns how many a second. */
const consume = async (bench: Bench, postgres: Postgres, { name, batchSize, count }: Way): Promise<number> => {
  const topic = `bench-inbox-${Bun.randomUUIDv7()}`
  await createTopic(bench, topic)
  await asOwner(bench, 'truncate users.inbox, users.bench_effects; checkpoint')
  const producer = await bareProducer(bench)
  for (let sent = 0; sent < count; sent += 1_000) {
    await producer.send({ topic, messages: Array.from({ length: 1_000 }, (_, n) => messageOn(topic, sent + n)) })
  }
  await producer.disconnect()
  const type = eventOn(topic)
  const { broker, rate } = watched(ourBroker(bench), count)
  const outbox = createOutbox({ source: 'users', postgres, newId: Bun.randomUUIDv7, now: () => new Date(), committed })
  const definition = { topic: type.topic, handlers: [name === 'set' ? insertSet(type) : insertEach(type)] }
  const consumer = createConsumer({
    module: 'users',
    definition,
    postgres,
    outbox,
    broker,
    log: bench.log,
    committed,
    batchSize,
  })
  await consumer.start()
  try {
    const measured = await rate
    const [found] = await postgres.run('select count(*)::int as rows from bench_effects')
    if (found?.['rows'] !== count) throw new Error(`${count} messages left ${found?.['rows']} rows of effect.`)
    return measured
  } finally {
    await consumer.stop()
  }
}

export const inbox: Scenario = {
  name: 'inbox',
  needs: [],
  run: async (bench) => {
    const size = bench.quick ? 2_000 : 30_000
    const ways: Record<Way['name'], Way> = {
      one: { name: 'one', batchSize: 1, count: size / 2 },
      each: { name: 'each', batchSize: 500, count: size },
      set: { name: 'set', batchSize: 500, count: size * 2 },
    }
    await asOwner(
      bench,
      `drop table if exists users.bench_effects;
       create table users.bench_effects (message_id uuid not null, key text not null, amount integer not null)`,
    )
    const postgres = openPostgres({
      url: bench.config.USERS_DATABASE_URL ?? '',
      name: 'bench-inbox',
      poolSize: 4,
      log: bench.log,
    })
    try {
      await consume(bench, postgres, { ...ways.one, count: 1_000 })
      await consume(bench, postgres, { ...ways.each, count: 4_000 })
      await consume(bench, postgres, { ...ways.set, count: 4_000 })
      const measured = await alternate(bench, {
        one: () => consume(bench, postgres, ways.one),
        each: () => consume(bench, postgres, ways.each),
        set: () => consume(bench, postgres, ways.set),
      })
      const limit = {
        unit: 'messages/s',
        limit: 'the same consumer and insert with one transaction a message',
        limits: measured.one,
      }
      const target = { atLeast: 4 }
      const rows: Row[] = [
        {
          scenario: 'inbox',
          figure: 'createConsumer, from the broker, 500 a transaction; onEach, which inserts one row a message',
          figures: measured.each,
          ...limit,
          target,
        },
        {
          scenario: 'inbox, as a set',
          figure: 'the same with onBatch, which inserts the rows of a batch in one statement',
          figures: measured.set,
          ...limit,
          target,
        },
      ]
      return rows
    } finally {
      await postgres.close()
      await asOwner(bench, 'drop table users.bench_effects; truncate users.inbox')
    }
  },
}
