import type { OutgoingRecord, Producer } from '#platform/messaging/kafka'
import { createOutbox } from '#platform/messaging/outbox'
import type { Postgres, Run } from '#platform/postgres'
import type { ServiceEnvironment } from '../../scripts/services/index.ts'
import { eventually } from './eventually.ts'
import { counted, newTopic, testBroker, trace } from './messaging.ts'
import { readTopic } from './topic.ts'

/** What happens to a batch: the broker takes it, never gets it, takes it without saying so, or gets a part of it. */
export type Fate = 'taken' | 'refused' | 'unacknowledged' | 'half'

// A broker takes the records of one partition whole or not at all, so a part is a part of the keys.
const inHalf = (record: OutgoingRecord) => Bun.hash.crc32(record.key) % 2 === 0

const reaching = (records: OutgoingRecord[], fate: Fate): OutgoingRecord[] => {
  if (fate === 'refused') return []
  return fate === 'half' ? records.filter(inHalf) : records
}

const partitions = 12
// So many keys that each partition gets some.
const endKeys = Array.from({ length: 100 }, (_, index) => `end-${index}`)

/** A topic of its own on the run's broker, with producers whose batches fare as they are told; close it at the end. */
export const recordedTopic = async (services: ServiceEnvironment) => {
  const broker = testBroker(services)
  const topic = await newTopic(broker, partitions)
  const opened: Producer[] = []
  let reading: ReturnType<typeof readTopic> | undefined

  const open = () => {
    const producer = broker.producer()
    opened.push(producer)
    return producer
  }

  /** Sends a record behind everything else in each partition and reads up to it. */
  const sent = async () => {
    const read = await (reading ??= readTopic(services, topic))
    const end = Bun.randomUUIDv7()
    const producer = open()
    await producer.send(endKeys.map((key) => ({ topic, key, value: end, headers: { end } })))
    await producer.close()
    await eventually(() => {
      const ends = read.records.filter(({ headers }) => headers['end'] === end)
      const reached = new Set(ends.map(({ partition }) => partition)).size
      if (reached < partitions) throw new Error(`${topic} was read to the end of ${reached} partitions.`)
    }, 20_000)
    const byPlace = new Map(read.records.map((record) => [`${record.partition}:${record.offset}`, record]))
    return [...byPlace.values()].filter(({ headers }) => headers['end'] === undefined)
  }

  return {
    /** A real producer of its own; `fate` is asked about each batch, and may make it wait. */
    producer: (fate: (records: OutgoingRecord[]) => Fate | Promise<Fate> = () => 'taken'): Producer => {
      const { send, close } = open()
      return {
        send: async (records) => {
          const fated = await fate(records)
          const arriving = reaching(records, fated)
          if (arriving.length > 0) await send(arriving.map((record) => ({ ...record, topic })))
          if (fated !== 'taken') throw new Error(`The broker failed: ${fated}.`)
        },
        close,
      }
    },
    /** What the topic holds now, read back from its beginning; in order within a key. */
    sent,
    firstOccurrences: async () => firstOccurrences(await sent()),
    close: async () => {
      await Promise.all(opened.map((producer) => producer.close()))
      await (await reading)?.stop()
    },
  }
}

export type RecordedTopic = Awaited<ReturnType<typeof recordedTopic>>

/** For each key its sequences, in the order in which each was seen for the first time. */
export const firstOccurrences = (records: { key: string; headers: Record<string, string> }[]) => {
  const seen = new Set<string>()
  const keys = new Map<string, number[]>()
  for (const { key, headers } of records) {
    const id = headers['ce_id'] ?? ''
    if (seen.has(id)) continue
    seen.add(id)
    keys.set(key, [...(keys.get(key) ?? []), Number(headers['ce_sequence'])])
  }
  return keys
}

export const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

/** Writes into the outbox as a module does: the next number of a key, while its row is locked. Needs the table counters. */
export const counterWriter = (postgres: Postgres, committed: () => void = () => undefined) => {
  const outbox = createOutbox<'orders'>({
    source: 'orders',
    postgres,
    newId: () => Bun.randomUUIDv7(),
    now: () => new Date(),
    committed,
  })
  return async (key: string, times = 1): Promise<void> => {
    await postgres.transaction(async (transaction) => {
      const [row] = await transaction.run(
        `insert into counters (id, version) values ($1, $2::int)
         on conflict (id) do update set version = counters.version + excluded.version returning version`,
        [key, times],
      )
      const last = Number(row?.['version'])
      const emitted = Array.from({ length: times }, (_, index) => last - times + 1 + index)
      outbox.append(
        transaction,
        emitted.map((version) => ({ message: counted(key, version, { count: version }), trace: trace() })),
      )
    })
    committed()
  }
}

export const countersTable =
  'create table counters (id text not null, version int not null, constraint counters_pkey primary key (id))'

export const waiting = async (run: Run): Promise<number> => {
  const [row] = await run('select count(*)::int as waiting from orders.outbox')
  return Number(row?.['waiting'])
}

/** How many shards each owner holds now, most first. */
export const sharesOf = async (run: Run): Promise<number[]> => {
  const rows = await run(
    `select count(*)::int as shards from orders.relay_leases
     where owner is not null and expires_at > clock_timestamp() group by owner order by 1 desc`,
  )
  return rows.map((row) => Number(row['shards']))
}
