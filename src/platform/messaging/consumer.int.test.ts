import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { type TestSchema, testSchema } from '../../test/database.ts'
import { eventually } from '../../test/eventually.ts'
import { watched } from '../../test/mechanism.ts'
import { batchOf, counted, noBroker, recordOf, silent } from '../../test/messaging.ts'
import { messageThrownBy } from '../../test/thrown.ts'
import { DomainError, UnavailableError } from '../errors.ts'
import type { Postgres } from '../postgres.ts'
import { type ConsumerOptions, type Handler, createConsumer, onBatch, onEach } from './consumer.ts'
import { type Broker, inHandAtMost } from './kafka.ts'
import type { Received } from './message.ts'
import { createOutbox } from './outbox.ts'

setDefaultTimeout(60_000)

let schema: TestSchema

beforeAll(async () => {
  // Without a key: a second effect of one message is seen as a second row.
  schema = await testSchema('create table effects (consumer text not null, message_id text not null)')
})

beforeEach(() =>
  schema.owner.script(
    'truncate orders.effects, orders.inbox, orders.outbox, orders.dead_letters, orders.inbox_keys, orders.timers, orders.inbox_partitions',
  ),
)

afterAll(() => schema.close())

type Work = (message: Received<{ count: number }>, attempt: number) => Promise<unknown> | void

const consumerOf = (
  work: Work = () => undefined,
  options: Partial<ConsumerOptions<'orders'>> & { module?: 'orders' } = {},
) => {
  const postgres = options.postgres ?? schema.postgres
  const outbox = createOutbox<'orders'>({
    source: 'orders',
    postgres: schema.postgres,
    newId: () => Bun.randomUUIDv7(),
    now: () => new Date(),
    committed: () => undefined,
  })
  const attempts = new Map<string, number>()
  const handler: Handler<'orders'> = onEach(counted, async ({ tx, emit }, message) => {
    const attempt = (attempts.get(message.id) ?? 0) + 1
    attempts.set(message.id, attempt)
    await tx.execute(sql`insert into effects values ('one', ${message.id})`)
    emit(counted(`from-${message.subject}`, 1, { count: message.data.count }))
    await work(message, attempt)
  })
  const consumer = createConsumer({
    module: 'orders',
    definition: { topic: counted.topic, handlers: [handler] },
    outbox,
    broker: noBroker,
    log: silent,
    committed: () => undefined,
    tries: 3,
    retry: { firstMs: 1, maxMs: 5 },
    ...options,
    postgres,
  })
  return Object.assign(consumer, { attempts: (id: string) => attempts.get(id) ?? 0 })
}

const records = (count: number) =>
  Array.from({ length: count }, (_, index) => recordOf(counted(Bun.randomUUIDv7(), 1, { count: index })))

const effects = async () => {
  const rows = await schema.owner.run('select message_id from orders.effects order by message_id')
  return rows.map((row) => String(row['message_id']))
}
const counts = async () => {
  const [row] = await schema.owner.run(`select (select count(*)::int from orders.inbox) as inbox,
    (select count(*)::int from orders.outbox) as outbox, (select count(*)::int from orders.dead_letters) as parked`)
  return row
}
const parked = () =>
  schema.owner.run('select message_id, code, attempts, status from orders.dead_letters order by position')
const ids = (given: { id: string }[]) => given.map(({ id }) => id).toSorted()

test('a batch is one commit: effects, inbox rows and emitted messages', async () => {
  const given = records(20)
  await consumerOf().handle(batchOf(given))
  expect(await effects()).toEqual(ids(given))
  expect(await counts()).toEqual({ inbox: 20, outbox: 20, parked: 0 })
  const [row] = await schema.owner.run(`select count(distinct xmin::text)::int as commits from (
    select xmin from orders.effects union all select xmin from orders.inbox union all select xmin from orders.outbox) as row`)
  expect(row).toEqual({ commits: 1 })
})

test('a batch that comes again changes nothing, whole or in part, in one batch or twice at once', async () => {
  const given = records(10)
  await consumerOf().handle(batchOf(given))
  await consumerOf().handle(batchOf(given))
  await consumerOf().handle(batchOf([...given.slice(3), ...given.slice(3)]))
  const more = records(10)
  await Promise.all(
    [consumerOf(), consumerOf(), consumerOf()].map((consumer) =>
      consumer.handle(batchOf([...given, ...more, ...more])),
    ),
  )
  expect(await effects()).toEqual(ids([...given, ...more]))
  expect(await counts()).toEqual({ inbox: 20, outbox: 20, parked: 0 })
})

test('one message is handled by each consumer that reads it', async () => {
  const given = records(3)
  await consumerOf().handle(batchOf(given))
  const topic = { ...counted.topic, name: 'test-other-topic' }
  await consumerOf(undefined, {
    definition: {
      topic,
      handlers: [
        onBatch([counted], async ({ tx }, messages) => {
          for (const { id } of messages) await tx.execute(sql`insert into effects values ('two', ${id})`)
        }),
      ],
    },
  }).handle(batchOf(given))
  expect(await effects()).toEqual([...ids(given), ...ids(given)].toSorted())
})

test('a refusal parks its message at once, and the rest of the batch is applied', async () => {
  const given = records(6)
  const bad = given[3]
  const consumer = consumerOf(({ id }) => {
    if (id === bad?.id) throw new DomainError('too-late', 'It is too late.')
  })
  await consumer.handle(batchOf(given))
  expect(await effects()).toEqual(ids(given.filter((record) => record !== bad)))
  expect(await parked()).toEqual([{ message_id: bad?.id ?? '', code: 'too-late', attempts: 1, status: 'parked' }])
  expect(await counts()).toEqual({ inbox: 6, outbox: 5, parked: 1 })
  expect(consumer.attempts(bad?.id ?? '')).toBe(2)
})

test('a fault is tried again, and parked after the last try', async () => {
  const given = records(4)
  const [passing, failing] = [given[1], given[2]]
  const consumer = consumerOf(({ id }, attempt) => {
    if (id === failing?.id) throw new Error('always')
    if (id === passing?.id && attempt < 4) throw new Error('at first')
  })
  await consumer.handle(batchOf(given))
  expect(await effects()).toEqual(ids(given.filter((record) => record !== failing)))
  expect(await parked()).toEqual([{ message_id: failing?.id ?? '', code: 'fault', attempts: 3, status: 'parked' }])
})

test('a message that was parked is neither handled nor parked again when it comes again', async () => {
  const given = records(2)
  await consumerOf(() => Promise.reject(new DomainError('no', 'No.'))).handle(batchOf(given))
  await consumerOf().handle(batchOf(given))
  expect(await effects()).toEqual([])
  expect(await counts()).toEqual({ inbox: 2, outbox: 0, parked: 2 })
})

test('a service that is away is waited for, longer than any number of tries, and nothing is parked', async () => {
  const given = records(3)
  const consumer = consumerOf((_, attempt) => {
    if (attempt < 12) throw new UnavailableError('Redis does not answer.')
  })
  await consumer.handle(batchOf(given))
  expect(await effects()).toEqual(ids(given))
  expect(await parked()).toEqual([])
})

test('a database that is away is waited for, also to park, and its unknown commits have one effect', async () => {
  const given = records(4)
  let calls = 0
  const flaky: Pick<Postgres, 'transaction' | 'run'> = {
    run: schema.postgres.run,
    transaction: async (work) => {
      calls += 1
      if (calls % 3 === 1) throw new UnavailableError('The database is away.')
      const result = await schema.postgres.transaction(work)
      if (calls % 3 === 2) throw new UnavailableError('The outcome is unknown.')
      return result
    },
  }
  const bad = given[0]
  await consumerOf(
    ({ id }) => {
      if (id === bad?.id) throw new DomainError('no', 'No.')
    },
    { postgres: flaky },
  ).handle(batchOf(given))
  expect(await effects()).toEqual(ids(given.slice(1)))
  expect(await parked()).toEqual([{ message_id: bad?.id ?? '', code: 'no', attempts: 1, status: 'parked' }])
})

/** A consumer that takes partition 0, which ends at `end`, over from a dead process, and what it asks of the database. */
const takingOver = async (end: number) => {
  await schema.owner.script(`insert into orders.inbox_partitions (consumer, partition, owner)
    values ('orders.test-counter-events', 0, gen_random_uuid())`)
  const { seen, ...postgres } = watched(schema.postgres)
  let taken: ((partitions: number[]) => void) | undefined
  const broker: Broker = {
    ...noBroker,
    ends: () => Promise.resolve(new Map([[0, BigInt(end)]])),
    subscribe: ({ given, ...options }) => {
      taken = given
      return noBroker.subscribe(options)
    },
  }
  const consumer = consumerOf(() => undefined, { postgres, broker })
  taken?.([0])
  return { ...consumer, seen }
}

/** To take the partition, and to join. */
const toBegin = 2

test('of what a dead process had before it, only what it had not handled is handled alone', async () => {
  const given = records(8)
  await consumerOf().handle(batchOf(given.slice(0, 4)))
  const consumer = await takingOver(6)
  await consumer.handle(batchOf(given))
  expect(await effects()).toEqual(ids(given))
  // The notes and the effects of two; those before them together, and those that came later.
  expect(consumer.seen.transactions).toBe(toBegin + 2 * 2 + 1 + 1)
})

test('however much nobody handles, what comes behind it is still handled alone', async () => {
  const given = records(2 * inHandAtMost)
  for (const { headers } of given.slice(0, -1)) headers['ce_type'] = 'orders.counted.v9'
  const consumer = await takingOver(given.length)
  for (const [at, slice] of [given.slice(0, inHandAtMost), given.slice(inHandAtMost)].entries())
    await consumer.handle(batchOf(slice, { offset: at * inHandAtMost }))
  expect(await effects()).toEqual(ids(given.slice(-1)))
  expect(consumer.seen.transactions).toBe(toBegin + 1 + 1 + 2)
})

test('a type that nobody handles is passed over', async () => {
  const [known, unknown] = records(2)
  if (unknown) unknown.headers['ce_type'] = 'orders.counted.v9'
  await consumerOf().handle(batchOf([unknown, known].filter((record) => record !== undefined)))
  expect(await effects()).toEqual(ids(known ? [known] : []))
  expect(await counts()).toEqual({ inbox: 1, outbox: 1, parked: 0 })
})

test('records that cannot be decoded are parked whole, once, and the others are applied', async () => {
  const [noId, badJson, misfit, notUtf8, good] = records(5).map((record) => ({
    ...record,
    value: Buffer.from(record.value),
  }))
  if (!noId || !badJson || !misfit || !notUtf8 || !good) throw new Error('unreachable')
  delete noId.headers['ce_id']
  badJson.value = Buffer.from('{"count":')
  misfit.value = Buffer.from('{"count":"many"}')
  notUtf8.value = Buffer.from('{"count":1,"note":"\xff\0"}', 'latin1')
  const batch = batchOf([noId, badJson, good, misfit, notUtf8])
  await consumerOf().handle(batch)
  await consumerOf().handle(batch)
  expect(await effects()).toEqual([good.id])
  const rows = await schema.owner.run(
    `select code, encode(value, 'base64') as value, headers, position from orders.dead_letters order by position`,
  )
  expect(
    rows.map((row) => [row['code'], row['position'], Buffer.from(String(row['value']), 'base64').toString('latin1')]),
  ).toEqual([
    ['undecodable', `${counted.topic.name}/0/0`, noId.value.toString('latin1')],
    ['undecodable', `${counted.topic.name}/0/1`, '{"count":'],
    ['undecodable', `${counted.topic.name}/0/3`, '{"count":"many"}'],
    ['undecodable', `${counted.topic.name}/0/4`, '{"count":1,"note":"\xff\0"}'],
  ])
})

test('a batch larger than one transaction is applied whole, in order', async () => {
  const given = records(25)
  const order: number[] = []
  await consumerOf(({ data }) => void order.push(data.count), { batchSize: 10 }).handle(batchOf(given))
  expect(order).toEqual(given.map((_, index) => index))
  expect(await effects()).toEqual(ids(given))
})

test('heartbeats go on while a message is tried again and again', async () => {
  let beats = 0
  const consumer = consumerOf(() => {
    if (beats < 3) throw new UnavailableError('Redis does not answer.')
  })
  const heartbeat = () => {
    beats += 1
    return Promise.resolve()
  }
  await consumer.handle(batchOf(records(1), { heartbeat }))
  expect(await effects()).toHaveLength(1)
})

test('a batch whose partitions went to another process is let go while it waits', async () => {
  const consumer = consumerOf(() => Promise.reject(new UnavailableError('Redis does not answer.')))
  const lost = new Error('The group is rebalancing.')
  const handled = consumer.handle(batchOf(records(1), { heartbeat: () => Promise.reject(lost) }))
  expect(await messageThrownBy(handled)).toContain('rebalancing')
  expect(await counts()).toEqual({ inbox: 0, outbox: 0, parked: 0 })
})

test('a stop lets go of what waits for a service', async () => {
  const consumer = consumerOf(() => Promise.reject(new UnavailableError('Redis does not answer.')))
  const given = records(1)
  const handled = consumer.handle(batchOf(given)).then(
    () => 'applied',
    () => 'let go',
  )
  await eventually(() => expect(consumer.attempts(given[0]?.id ?? '')).toBeGreaterThan(2))
  await consumer.stop()
  expect(await handled).toBe('let go')
  expect(await parked()).toEqual([])
})
