import { CloudEvent, Kafka } from 'cloudevents'
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { join } from 'node:path'
import { type TestSchema, testSchema } from '../../test/database.ts'
import { eventually } from '../../test/eventually.ts'
import { sleep } from '#platform/retry'
import { countedOn, newTopic, recordOf, silent, testBroker } from '../../test/messaging.ts'
import { messageThrownBy } from '../../test/thrown.ts'
import { type ConsumerOptions, createConsumer, onEach } from './consumer.ts'
import { type Broker, inHandAtMost } from './kafka.ts'
import { createOutbox } from './outbox.ts'
import { createRelay } from './relay.ts'

setDefaultTimeout(60_000)

let schema: TestSchema
let broker: Broker

beforeAll(async () => {
  schema = await testSchema('create table effects (message_id text not null, pid int not null)')
  broker = testBroker(schema.services, 1_500)
})

beforeEach(() => schema.owner.script('truncate orders.effects, orders.inbox, orders.outbox, orders.dead_letters'))

afterAll(() => schema.close())

const outbox = () =>
  createOutbox<'orders'>({
    source: 'orders',
    postgres: schema.postgres,
    newId: () => Bun.randomUUIDv7(),
    now: () => new Date(),
    committed: () => undefined,
  })

const send = async (topic: string, count: number) => {
  const counted = countedOn(topic)
  const records = Array.from({ length: count }, (_, index) =>
    recordOf(counted(Bun.randomUUIDv7(), 1, { count: index })),
  )
  const producer = broker.producer()
  await producer.send(records)
  await producer.close()
  return records.map(({ id }) => id).toSorted()
}

const consumerOf = (topic: string, options: Partial<ConsumerOptions<'orders'>> = {}) => {
  const counted = countedOn(topic)
  return createConsumer<'orders'>({
    module: 'orders',
    definition: {
      topic: counted.topic,
      handlers: [
        onEach(counted, async ({ tx }, { id }) => {
          await tx.execute(sql`insert into effects values (${id}, 0)`)
        }),
      ],
    },
    postgres: schema.postgres,
    outbox: outbox(),
    broker,
    log: silent,
    committed: () => undefined,
    ...options,
  })
}

const effects = async () => {
  const rows = await schema.owner.run('select message_id from orders.effects order by message_id')
  return rows.map((row) => String(row['message_id']))
}

/** How many messages the killed process emitted: those of its committed transactions alone. */
const committedMessages = async () => (await schema.owner.run('select id from orders.outbox')).length

const child = (entry: string, ...args: string[]) =>
  Bun.spawn([process.execPath, join(import.meta.dir, '../../test', entry), ...args], {
    stdout: 'pipe',
    stderr: 'inherit',
  })

test('clients of the broker that idle set next to no timers', async () => {
  const topic = await newTopic(broker)
  const idle = child('idle-broker-clients.ts', schema.services.KAFKA_BROKERS, topic)
  expect(Number(await new Response(idle.stdout).text())).toBeLessThan(100)
  expect(await idle.exited).toBe(0)
})

const allOf = (key: string) => Array.from({ length: 10 }, (_, index) => [key, String(index + 1), { count: index + 1 }])

test('what the relay sends arrives as CloudEvents, each key in the order of its changes', async () => {
  const topic = await newTopic(broker)
  const counted = countedOn(topic)
  const producer = broker.producer()
  const relay = createRelay({
    name: 'orders',
    run: schema.postgres.run,
    producer,
    log: silent,
    owner: Bun.randomUUIDv7(),
    batchSize: 10,
  })
  const trace = { correlationId: Bun.randomUUIDv7(), causationId: Bun.randomUUIDv7() }
  for (let sequence = 1; sequence <= 10; sequence += 1) {
    await outbox().transact(trace)((_, emit) => {
      for (const key of ['a', 'b', 'c', 'd']) emit(counted(key, sequence, { count: sequence }))
      return Promise.resolve()
    })
  }
  const seen = new Map<string, unknown[]>()
  const subscription = broker.subscribe({
    group: `${topic}-reader`,
    topic,
    handle: ({ records }) => {
      for (const { key, headers, value } of records) {
        const event = Kafka.toEvent({
          headers,
          value: value.toString(),
          body: value.toString(),
          key,
          timestamp: '',
        } as never) as CloudEvent<unknown>
        expect(event['correlationid']).toBe(trace.correlationId)
        seen.set(key, [...(seen.get(key) ?? []), [event.subject, event['sequence'], event.data]])
      }
      return Promise.resolve()
    },
  })
  await subscription.start()
  relay.start()
  await relay.drained()
  await eventually(() => expect(seen).toEqual(new Map(['a', 'b', 'c', 'd'].map((key) => [key, allOf(key)]))), 20_000)
  await Promise.all([subscription.stop(), relay.stop()])
  await producer.close()
})

for (const point of ['before-commit', 'after-commit']) {
  test(`a consumer that is killed ${point} leaves its messages to the next, each with one effect`, async () => {
    const topic = await newTopic(broker, 2)
    const sent = await send(topic, 5)
    const killed = child('killed-consumer.ts', schema.services.KAFKA_BROKERS, schema.url, topic, point)
    const reached = killed.stdout.getReader()
    await reached.read()
    killed.kill('SIGKILL')
    await killed.exited
    const before = await effects()
    if (point === 'before-commit') expect(before).toEqual([])
    else expect(before.length).toBeGreaterThan(0)
    const next = consumerOf(topic)
    await next.start()
    await eventually(async () => expect(await effects()).toEqual(sent), 20_000)
    const more = await send(topic, 2)
    await eventually(async () => expect(await effects()).toEqual([...sent, ...more].toSorted()), 20_000)
    await next.stop()
    expect(await committedMessages()).toBe(before.length)
  })
}

test('a consumer that stops commits what it handled, and the next one is not given it again', async () => {
  const topic = await newTopic(broker, 2)
  const sent = await send(topic, 6)
  const first = consumerOf(topic)
  await first.start()
  await eventually(async () => expect(await effects()).toEqual(sent), 20_000)
  await first.stop()
  await schema.owner.script('truncate orders.inbox, orders.effects')
  const second = consumerOf(topic)
  await second.start()
  const more = await send(topic, 6)
  await eventually(async () => expect((await effects()).filter((id) => more.includes(id))).toEqual(more), 20_000)
  await second.stop()
  expect(await effects()).toEqual(more)
})

test('what is done of much that came at once is committed before the rest is', async () => {
  const topic = await newTopic(broker, 1)
  await send(topic, 4 * inHandAtMost)
  const [stuck, sizes] = [Promise.withResolvers<void>(), [] as number[]]
  const subscription = broker.subscribe({
    group: `${topic}-reader`,
    topic,
    handle: async ({ records }) => {
      sizes.push(records.length)
      if (sizes.length === 3) await stuck.promise
    },
  })
  await subscription.start()
  const behind = async () => (await broker.lag(`${topic}-reader`, topic)).map((partition) => partition.behind)
  await eventually(async () => expect(await behind()).toEqual([2 * inHandAtMost]), 20_000)
  expect(sizes).toEqual([inHandAtMost, inHandAtMost, inHandAtMost])
  stuck.resolve()
  await eventually(async () => expect(await behind()).toEqual([]), 20_000)
  await subscription.stop()
})

test('a message that is tried for longer than the session lasts is not delivered again and again', async () => {
  const topic = await newTopic(broker, 1)
  const [sent = ''] = await send(topic, 1)
  const counted = countedOn(topic)
  let deliveries = 0
  let attempts = 0
  const consumer = consumerOf(topic, {
    retry: { firstMs: 100, maxMs: 100 },
    tries: 1_000,
    definition: {
      topic: counted.topic,
      handlers: [
        onEach(counted, async ({ tx }, { id }) => {
          attempts += 1
          // Forty tries take longer than the session of 1.5 s.
          if (attempts < 40) throw new Error('on purpose')
          await tx.execute(sql`insert into effects values (${id}, 0)`)
        }),
      ],
    },
    broker: {
      ...broker,
      subscribe: (options) =>
        broker.subscribe({
          ...options,
          handle: (batch) => {
            deliveries += 1
            return options.handle(batch)
          },
        }),
    },
  })
  await consumer.start()
  await eventually(async () => expect(await effects()).toEqual([sent]), 30_000)
  await consumer.stop()
  expect(deliveries).toBe(1)
})

test('what another process has handled further is not taken back by one that was frozen meanwhile', async () => {
  const topic = await newTopic(broker, 4)
  const group = `${topic}-readers`
  const caughtUp = () => eventually(async () => expect(await broker.lag(group, topic)).toEqual([]), 20_000)
  await send(topic, 20)
  const frozen = child('frozen-reader.ts', schema.services.KAFKA_BROKERS, group, topic)
  const said = frozen.stdout.getReader()
  const nextSaid = async () => new TextDecoder().decode((await said.read()).value)
  try {
    await nextSaid()
    frozen.kill('SIGSTOP')
    const other = broker.subscribe({ group, topic, handle: () => Promise.resolve() })
    await other.start()
    await caughtUp()
    await send(topic, 20)
    await caughtUp()
    frozen.kill('SIGCONT')
    // It has joined the group again when it is given something that it has not been given before.
    const joined = new AbortController()
    const joining = (async () => {
      while (!/[1-9]/.test(await nextSaid()));
      joined.abort()
    })()
    while (!joined.signal.aborted) await send(topic, 8)
    await joining
    await sleep(2_000)
    await caughtUp()
    await other.stop()
  } finally {
    frozen.kill('SIGKILL')
    await frozen.exited
  }
})

test('topics are made once, with the partitions asked for, and left as they are', async () => {
  const name = await newTopic(broker, 3)
  await broker.createTopics([{ name, partitions: 5, replication: 1, retentionMs: 1_000 }])
  expect(await broker.partitions([name, 'test-no-such-topic'])).toEqual(new Map([[name, 3]]))
})

test('a broker without an authorizer has no rights to give, and says so', async () => {
  expect(await broker.grant([{ principal: 'orders', writes: ['a'], reads: ['b'], groups: ['c'] }])).toBe(false)
})

test('a topic that the broker will not create is named, with the reason', async () => {
  const topics = [{ name: 'not a name', partitions: 1, replication: 1, retentionMs: 3_600_000 }]
  expect(await messageThrownBy(broker.createTopics(topics))).toStartWith('not a name: ')
})
