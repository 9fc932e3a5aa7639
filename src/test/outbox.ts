import type { OutgoingRecord, Producer } from '#platform/messaging/kafka'
import { createOutbox } from '#platform/messaging/outbox'
import type { Postgres, Run } from '#platform/postgres'
import { counted, trace } from './messaging.ts'

/** What happens to a batch: the broker takes it, refuses it, takes it without saying so, or takes a part of it. */
export type Fate = 'taken' | 'refused' | 'unacknowledged' | 'half'

// A broker takes the records of one partition whole or not at all, so a part is a part of the keys.
const inHalf = (record: OutgoingRecord) => Bun.hash.crc32(record.key) % 2 === 0

/** A broker in memory that keeps every record in the order in which it came, and whose producers fail as they are told. */
export const brokerLog = () => {
  const sent: OutgoingRecord[] = []
  const take = (records: OutgoingRecord[], fate: Fate) => {
    if (fate === 'taken' || fate === 'unacknowledged') sent.push(...records)
    if (fate === 'half') sent.push(...records.filter(inHalf))
    if (fate !== 'taken') throw new Error(`The broker failed: ${fate}.`)
  }
  return {
    sent,
    /** A producer; `fate` is asked about each batch, and may make it wait. */
    producer: (fate: (records: OutgoingRecord[]) => Fate | Promise<Fate> = () => 'taken'): Producer => ({
      send: async (records) => take(records, await fate(records)),
      close: () => Promise.resolve(),
    }),
    firstOccurrences: () => firstOccurrences(sent),
  }
}

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
