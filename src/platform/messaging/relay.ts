import { isDeepStrictEqual } from 'node:util'
import { durable } from '../durable.ts'
import { messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Run, SqlRow } from '../postgres.ts'
import { relayLag, retries } from '../metrics.ts'
import { backoffMs, sleep } from '../retry.ts'
import { type OpenSpan, beginSpan, tracing } from '../tracing.ts'
import { toHeaders } from './cloud-event.ts'
import type { OutgoingRecord, Producer } from './kafka.ts'
import { createFloor, multirange } from './relay-floor.ts'
import { relayShards } from './outbox.ts'
import { type Leases, claimLeases, releaseLeases } from './relay-lease.ts'

export type RelayOptions = {
  /** Whose outbox it is, for metrics. */
  name: string
  run: Run
  producer: Producer
  log: Log
  /** This process, as the owner of leases. */
  owner: string
  leaseMs?: number
  batchSize?: number
}

export type Relay = {
  start(): void
  /** Says that a commit left messages in the outbox; costs no I/O. */
  wake(): void
  /** Whether this process relays every shard, as far as it knows. */
  holdsAll(): boolean
  /** Resolves when the outbox shards of this process hold nothing more. */
  drained(): Promise<void>
  /** Sends what is in hand, gives the leases up, and ends. */
  stop(): Promise<void>
  /** When the relay last reached its outbox, in milliseconds of the epoch; undefined before the first time. */
  lastWorkedAt(): number | undefined
  /** Since when the broker has taken nothing of what is sent; undefined while it takes it. */
  failingSince(): number | undefined
  /** How old the first message of the whole outbox was when the leases were last renewed; 0 when there was none. */
  outboxAgeMs(): number
}

/** `more` says that there was more to read. */
type Batch = { ids: string[]; records: OutgoingRecord[]; readAt: number; more: boolean }

/** After a batch of so many messages, more are on their way: the next read lets them gather for a moment. */
const crowd = 20
const gatherMs = 30

const readRows = `select id, message_id, topic, key, type, source, subject, sequence, occurred_at, correlation_id, causation_id,
    traceparent, value
  from outbox
  where id > $1 and not (id <@ $2::int8multirange) and shard = any ($3::smallint[])
  order by id limit $4`

const deleteRows = `delete from outbox
  where id = any ($1::bigint[])
    and shard in (select lease.shard from relay_leases as lease
      join json_to_recordset($3) as held(shard smallint, epoch bigint) using (shard)
      where lease.owner = $2 and lease.epoch = held.epoch)`

/** The broker takes at most 1 MB in one batch of records, and a whole batch of ours may be for one partition. */
const maxBatchBytes = 900_000

/**
 * Carries a module's outbox to the broker: at least once, and the first occurrences of a key's messages in the order of
 * their commits. One batch is on its way at a time and is sent again unchanged until it is acknowledged; the next one
 * is read meanwhile. Rows are deleted after the acknowledgement, and only under the epoch of the lease they were read with.
 */
export const createRelay = (options: RelayOptions): Relay => {
  const { name, run, producer, log, owner, leaseMs = 5_000, batchSize = 1_000 } = options
  const stopping = new AbortController()
  const renewEveryMs = leaseMs * 0.4
  let leases: Leases = { epochs: new Map(), validUntilMs: 0, oldestAt: undefined }
  const observeLag = relayLag({ module: name })
  let wakeUp: (() => void) | undefined
  let woken = false
  const floor = createFloor(run)
  let running: Promise<void> | undefined
  let failingSince: number | undefined
  let lastWorked: number | undefined
  let outboxAgeMs = 0
  let idle: (() => void)[] = []

  const leased = () => performance.now() < leases.validUntilMs
  const renewalDue = () => performance.now() > leases.validUntilMs - leaseMs + renewEveryMs

  const claim = async () => {
    const held = leases.epochs
    leases = await claimLeases(run, owner, leaseMs)
    lastWorked = Date.now()
    outboxAgeMs = Math.max(0, lastWorked - (leases.oldestAt ?? lastWorked))
    if (isDeepStrictEqual(held, leases.epochs)) floor.lookBack()
    else floor.reset()
  }

  const read = async (inHand: string[]): Promise<Batch> => {
    const shards = [...leases.epochs.keys()].join(',')
    const rows = await run(readRows, [floor.current(), multirange(inHand), `{${shards}}`, batchSize])
    const ids = rows.map((row) => String(row['id']))
    const records = rows.map(toRecord)
    const fitting = countWithin(records, maxBatchBytes)
    await floor.read(ids[fitting - 1])
    const more = fitting < rows.length || rows.length === batchSize
    return { ids: ids.slice(0, fitting), records: records.slice(0, fitting), readAt: performance.now(), more }
  }

  /** Lets a crowd gather before the next read: many small batches cost more than fewer that are larger. */
  const gather = async ({ ids, readAt, more }: Batch): Promise<void> => {
    if (ids.length >= crowd && !more) await sleep(Math.max(0, readAt + gatherMs - performance.now()), stopping.signal)
  }

  /** Sends until acknowledged; false when the lease ran out first, so that nothing may be sent or marked any more. */
  const send = async (batch: Batch): Promise<boolean> => {
    for (let attempt = 1; !stopping.signal.aborted || attempt === 1; attempt += 1) {
      if (!leased()) return false
      const spans = openPublishing(batch.records)
      try {
        await producer.send(batch.records)
        for (const span of spans) span.end()
        failingSince = undefined
        observeLag(Math.max(0, Date.now() - Date.parse(batch.records[0]?.headers['ce_time'] ?? '')) / 1_000)
        return true
      } catch (error) {
        for (const span of spans) span.end(error)
        failingSince ??= Date.now()
        retries.inc({ kind: 'relay', name })
        log.warn({ error: messageOf(error), messages: batch.ids.length, attempt }, 'the broker did not take the batch')
        await sleep(backoffMs(attempt, { firstMs: 50, maxMs: 1_000 }), stopping.signal)
      }
    }
    return false
  }

  const mark = async (batch: Batch, held: Leases): Promise<void> => {
    const epochs = [...held.epochs].map(([shard, epoch]) => ({ shard, epoch }))
    await durable('relay.delete', () => run(deleteRows, [`{${batch.ids.join(',')}}`, owner, JSON.stringify(epochs)]))
  }

  /** Reads and sends until nothing is left, the leases are due for renewal, or the process stops. */
  const drain = async (): Promise<void> => {
    let sending: Promise<boolean> = Promise.resolve(true)
    let marking: Promise<void> = Promise.resolve()
    let sent: Batch | undefined
    let marked: string[] = []
    try {
      while (leased() && !renewalDue() && !stopping.signal.aborted) {
        if (sent) await gather(sent)
        const next = await read([...marked, ...(sent?.ids ?? [])])
        if (!(await sending)) break
        await marking
        marked = sent?.ids ?? []
        if (sent) {
          marking = mark(sent, leases)
          // It is awaited a turn later; a rejection that nobody listens to before that would end the process.
          marking.catch(() => undefined)
        }
        sent = undefined
        if (next.ids.length === 0) {
          if (marked.length === 0 && floor.current() === '0') break
          floor.reset()
          continue
        }
        sent = next
        sending = send(next)
      }
      if ((await sending) && sent) await Promise.all([marking, mark(sent, leases)])
    } catch (error) {
      floor.reset()
      throw error
    } finally {
      await Promise.allSettled([sending, marking])
    }
  }

  const waitForWork = async () => {
    const untilRenewalMs = Math.max(0, leases.validUntilMs - leaseMs + renewEveryMs - performance.now())
    if (woken || stopping.signal.aborted) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, untilRenewalMs)
      wakeUp = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    wakeUp = undefined
  }

  const turn = async () => {
    const due = renewalDue()
    if (due) await claim()
    const work = woken || (due && leases.oldestAt !== undefined)
    woken = false
    if (work && leases.epochs.size > 0) await drain()
    if (!woken && !renewalDue()) {
      for (const resolve of idle.splice(0)) resolve()
    }
    await waitForWork()
  }

  const loop = async () => {
    for (let failures = 0; !stopping.signal.aborted;) {
      try {
        await turn()
        failures = 0
      } catch (error) {
        failures += 1
        woken = true
        log.warn({ error: messageOf(error), failures }, 'the relay could not reach its outbox')
        await sleep(backoffMs(failures, { firstMs: 50, maxMs: 1_000 }), stopping.signal)
      }
    }
    await releaseLeases(run, owner).catch(() => undefined)
  }

  const wake = () => {
    woken = true
    wakeUp?.()
  }

  return {
    start: () => {
      running ??= loop()
    },
    wake,
    holdsAll: () => leases.epochs.size === relayShards,
    drained: () =>
      new Promise((resolve) => {
        if (!running || stopping.signal.aborted) return resolve()
        idle = [...idle, resolve]
        wake()
      }),
    stop: async () => {
      stopping.abort()
      wakeUp?.()
      await running
    },
    lastWorkedAt: () => lastWorked,
    failingSince: () => failingSince,
    outboxAgeMs: () => outboxAgeMs,
  }
}

/** A span for each record below what emitted it; none when nobody traces. */
const openPublishing = (records: OutgoingRecord[]): OpenSpan[] => {
  const spans: OpenSpan[] = []
  for (const { topic, headers } of tracing() ? records : []) {
    const { ce_type: type, ce_id: id = '', ce_correlationid: correlationId = id, traceparent } = headers
    const trace = { correlationId, causationId: id, ...(traceparent === undefined ? {} : { traceparent }) }
    const span = beginSpan(`publish ${type}`, 'producer', trace)
    span?.set({ 'messaging.system': 'kafka', 'messaging.destination.name': topic, 'messaging.message.id': id })
    if (span) spans.push(span)
  }
  return spans
}

/** How many of the records, at least one, stay within so many bytes. */
const countWithin = (records: OutgoingRecord[], maxBytes: number): number => {
  let bytes = 0
  const beyond = records.findIndex(({ key, value, headers }) => {
    bytes += Buffer.byteLength(value) + key.length + headerBytes(headers)
    return bytes > maxBytes
  })
  return beyond === -1 ? records.length : Math.max(1, beyond)
}

const headerBytes = (headers: Record<string, string>): number => {
  let bytes = 0
  for (const name in headers) bytes += name.length + (headers[name]?.length ?? 0) + 4
  return bytes
}

const text = (row: SqlRow, column: string): string => String(row[column])

const toRecord = (row: SqlRow): OutgoingRecord => ({
  topic: text(row, 'topic'),
  key: text(row, 'key'),
  value: text(row, 'value'),
  headers: toHeaders({
    id: text(row, 'message_id'),
    topic: text(row, 'topic'),
    key: text(row, 'key'),
    type: text(row, 'type'),
    source: text(row, 'source'),
    subject: text(row, 'subject'),
    sequence: row['sequence'] === null ? undefined : Number(row['sequence']),
    time: text(row, 'occurred_at'),
    trace: {
      correlationId: text(row, 'correlation_id'),
      causationId: text(row, 'causation_id'),
      ...(row['traceparent'] === null ? {} : { traceparent: text(row, 'traceparent') }),
    },
    value: text(row, 'value'),
  }),
})
