import { Counter, type Metric, Registry } from 'prom-client'

/** What this process counts in memory, in the form of Prometheus. */
export const counted = new Registry()

const counter = <Label extends string>(name: string, help: string, labelNames: Label[]) =>
  new Counter({ name, help, labelNames, registers: [counted] })

/** To be added to once a batch, behind its commit. */
export const messagesHandled = counter(
  'bulkhead_messages_handled_total',
  'Messages that a consumer has applied or held',
  ['consumer'],
)

/** To be added to once a batch, behind its commit. */
export const inboxDuplicates = counter(
  'bulkhead_inbox_duplicates_total',
  'Messages that came again and changed nothing',
  ['consumer'],
)

export const messagesParked = counter('bulkhead_messages_parked_total', 'Messages whose handling failed for good', [
  'consumer',
])

/** `kind` is consumer, timer, call or relay; `name` says which. */
export const retries = counter('bulkhead_retries_total', 'Work that failed and was tried again', ['kind', 'name'])

type Labels = Record<string, string>

export type HistogramOptions = {
  name: string
  help: string
  /** The upper bounds, in the unit of the name, rising. */
  buckets: number[]
}

/** Adds one value, in the unit of the histogram's name. */
export type Observe = (value: number) => void

/**
 * A histogram for hot paths. Give it labels once and keep what it answers: an observation is then two additions, where
 * prom-client's own makes and hashes objects.
 */
export const createHistogram = ({ name, help, buckets }: HistogramOptions): ((labels: Labels) => Observe) => {
  const series: { labels: Labels; counts: number[]; sum: number }[] = []
  const get = async () => ({ name, help, type: 'histogram', aggregator: 'sum', values: series.flatMap(valuesOf) })
  const valuesOf = ({ labels, counts, sum }: (typeof series)[number]) => {
    let below = 0
    const within = counts.map((count, index) => {
      below += count
      return { metricName: `${name}_bucket`, labels: { ...labels, le: buckets[index] ?? '+Inf' }, value: below }
    })
    return [
      ...within,
      { metricName: `${name}_sum`, labels, value: sum },
      { metricName: `${name}_count`, labels, value: below },
    ]
  }
  counted.registerMetric({ name, get } as unknown as Metric)
  const known = new Map<string, Observe>()
  const create = (labels: Labels): Observe => {
    const own = { labels, counts: Array.from({ length: buckets.length + 1 }, () => 0), sum: 0 }
    series.push(own)
    return (value) => {
      let index = 0
      while (index < buckets.length && value > (buckets[index] ?? 0)) index += 1
      own.counts[index] = (own.counts[index] ?? 0) + 1
      own.sum += value
    }
  }
  return (labels) => {
    const id = JSON.stringify(labels)
    const observe = known.get(id) ?? create(labels)
    known.set(id, observe)
    return observe
  }
}

/** From a commit to the broker's acknowledgement, for the first message of each batch. */
export const relayLag = createHistogram({
  name: 'bulkhead_relay_lag_seconds',
  help: 'From the commit of a message until the broker has it, for the first of each batch',
  buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
})

/** One observation for each round trip that was answered, however many keys it carried. */
export const redisRoundTrips = createHistogram({
  name: 'bulkhead_redis_round_trip_duration_seconds',
  help: 'From a command, or several sent together, to the answer of Redis',
  buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25],
})

/** `reason` is timeout (no answer in time), away (no connection) or refused (an answer that says no). */
export const redisFailures = counter('bulkhead_redis_failures_total', 'Commands to Redis that failed', [
  'operation',
  'reason',
])
