import type { Producer as KafkaProducer } from 'kafkajs'
import { toHeaders } from '#platform/messaging/cloud-event'
import type { OutgoingRecord } from '#platform/messaging/kafka'
import { createRelay } from '#platform/messaging/relay'
import { openPostgres } from '#platform/postgres'
import { bareProducer, createTopic, ourBroker } from './bare-kafka.ts'
import { asOwner } from './environment.ts'
import { type Bench, type Row, type Scenario, alternate } from './scenario.ts'

const topic = 'bench-relay'
const batchSize = 1_000
const drainLimitMs = 300_000

/** Rows as registrations leave them, about 350 bytes each, for 20,000 users by turns. */
const fill = (count: number) => `truncate users.outbox;
  insert into users.outbox
    (shard, message_id, topic, key, type, source, subject, sequence, occurred_at, correlation_id, causation_id, value)
  select hashtext(key) & 7, uuidv7(), '${topic}', key, 'users.user-registered.v1', 'users', key, 1 + n / 20000,
    '2026-01-01T00:00:00.000Z', gen_random_uuid(), gen_random_uuid(),
    '{"userId":"' || key || '","role":"customer","registeredAt":"2026-01-01T00:00:00.000Z"}'
  from generate_series(0, ${count - 1}) as n,
    lateral (select '0198c0de-0000-7000-8000-' || lpad((n % 20000)::text, 12, '0') as key) as made;
  vacuum analyze users.outbox;
  checkpoint`

/** The same messages, in memory. */
const messagesOf = (count: number): OutgoingRecord[] =>
  Array.from({ length: count }, (_, n) => {
    const key = `0198c0de-0000-7000-8000-${String(n % 20_000).padStart(12, '0')}`
    const value = `{"userId":"${key}","role":"customer","registeredAt":"2026-01-01T00:00:00.000Z"}`
    const headers = toHeaders({
      id: Bun.randomUUIDv7(),
      topic,
      key,
      type: 'users.user-registered.v1',
      source: 'users',
      subject: key,
      sequence: 1 + Math.floor(n / 20_000),
      time: '2026-01-01T00:00:00.000Z',
      trace: { correlationId: crypto.randomUUID(), causationId: crypto.randomUUID() },
      value,
    })
    return { topic, key, value, headers }
  })

const rate = async (count: number, work: () => Promise<unknown>): Promise<number> => {
  Bun.gc(true)
  const startedAt = performance.now()
  await work()
  return count / ((performance.now() - startedAt) / 1_000)
}

const produce = async (producer: KafkaProducer, messages: OutgoingRecord[]): Promise<void> => {
  for (let start = 0; start < messages.length; start += batchSize) {
    await producer.send({ topic, acks: -1, messages: messages.slice(start, start + batchSize) })
  }
}

const openOutbox = ({ config, log }: Bench) =>
  openPostgres({ url: config.USERS_DATABASE_URL ?? '', name: 'bench-relay', poolSize: 2, log })

/** From the start of a relay that holds all leases already until its outbox is empty. */
const drain = async (bench: Bench, count: number): Promise<number> => {
  const { log } = bench
  await asOwner(bench, 'truncate users.outbox')
  const postgres = openOutbox(bench)
  const producer = ourBroker(bench).producer()
  await producer.send(messagesOf(1))
  const relay = createRelay({ name: 'users', run: postgres.run, producer, log, owner: Bun.randomUUIDv7(), batchSize })
  relay.start()
  try {
    await relay.drained()
    await asOwner(bench, fill(count))
    const measured = await rate(count, () => {
      const late = new Promise((_, reject) => {
        setTimeout(
          () => reject(new Error(`${count} messages took longer than ${drainLimitMs} ms`)),
          drainLimitMs,
        ).unref()
      })
      return Promise.race([relay.drained(), late])
    })
    const [left] = await postgres.run('select count(*)::int as rows from outbox')
    if (left?.['rows'] !== 0) throw new Error(`The relay left ${left?.['rows']} rows behind.`)
    return measured
  } finally {
    await relay.stop()
    await producer.close()
    await postgres.close()
  }
}

export const relay: Scenario = {
  name: 'relay',
  needs: [],
  run: async (bench) => {
    const { quick } = bench
    const [few, many] = quick ? [20_000, undefined] : [100_000, 1_000_000]
    await createTopic(bench, topic)
    const messages = messagesOf(few)
    const bare = await bareProducer(bench)
    try {
      await produce(bare, messages.slice(0, few / 2))
      await drain(bench, few / 2)
      const sides = { limit: () => rate(few, () => produce(bare, messages)), figure: () => drain(bench, few) }
      const measured: { limit: number[]; figure: number[]; many?: number[] } =
        many === undefined
          ? await alternate(bench, sides)
          : await alternate(bench, { ...sides, many: () => drain(bench, many) })
      const figure = {
        scenario: 'relay',
        figure: `createRelay, ${few.toLocaleString('en')} outbox rows until acknowledged and deleted`,
        unit: 'messages/s',
        figures: measured.figure,
      }
      const rows: Row[] = [
        {
          ...figure,
          limit: `bare kafkajs idempotent producer, the same messages in memory in batches of ${batchSize}, acks all`,
          limits: measured.limit,
          target: { atLeast: 0.9 },
        },
      ]
      if (many === undefined || !measured.many) return rows
      const long: Row = {
        scenario: 'relay, long',
        figure: `createRelay, ${many.toLocaleString('en')} outbox rows`,
        unit: 'messages/s',
        figures: measured.many,
        limit: figure.figure,
        limits: figure.figures,
        target: { atLeast: 0.9 },
      }
      return [...rows, long]
    } finally {
      await bare.disconnect()
      await asOwner(bench, 'truncate users.outbox')
    }
  },
}
