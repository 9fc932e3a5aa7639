import { Gauge, Registry } from 'prom-client'
import { within } from './deadline.ts'
import type { Log } from './log.ts'
import { messageOf } from './errors.ts'
import type { Measures } from './measure.ts'
import type { Broker } from './messaging/kafka.ts'
import { counted } from './metrics.ts'
import type { PoolLoad } from './postgres.ts'
import type { RedisClient } from './redis.ts'
import type { SnapshotReader } from './snapshot-reader.ts'

export type Measured<Name extends string> = {
  name: Name
  consumers: { name: string; topic: string }[]
  measure(): Promise<Measures>
  snapshots: Pick<SnapshotReader, 'complete'>
}

export type ScrapeOptions<Name extends string> = {
  modules: Measured<Name>[]
  /** The pool of each module. */
  pools: { module: string; load: () => PoolLoad }[]
  redis: Pick<RedisClient, 'connections'>
  /** Asks the broker for the lag of a module's consumers, as whoever the module is to it. */
  lags: (module: Name, consumers: { group: string; topic: string }[]) => ReturnType<Broker['lags']>
  log: Log
  /** A source that takes longer is left out of the scrape. */
  timeoutMs?: number
  /** For this long what was asked of the services is told again. */
  keepMs?: number
}

/**
 * What a scrape of Prometheus is answered with: the counters of this process, and what the databases, the broker and Redis say
 * now.
 * A source that does not answer is told as `bulkhead_source_up 0` and does not fail the scrape.
 */
export const createScrape = <Name extends string>(options: ScrapeOptions<Name>): (() => Promise<string>) => {
  const { keepMs = 5_000 } = options
  let kept: { until: number; text: Promise<string> } | undefined
  return async () => {
    const now = performance.now()
    if (!kept || now > kept.until) kept = { until: now + keepMs, text: askAll(options) }
    const texts = await Promise.all([counted.metrics(), ofThisProcess(options), kept.text])
    return texts.join('\n')
  }
}

/** Sets gauges in a registry of this moment alone, so that what is no longer there is no longer told. */
const gaugesIn = (registry: Registry) => {
  const known = new Map<string, Gauge>()
  return (name: string, help: string, labels: Record<string, string>, value: number) => {
    const gauge = known.get(name) ?? new Gauge({ name, help, labelNames: Object.keys(labels), registers: [registry] })
    known.set(name, gauge)
    gauge.set(labels, value)
  }
}

type SetGauge = ReturnType<typeof gaugesIn>

const askAll = async <Name extends string>(options: ScrapeOptions<Name>): Promise<string> => {
  const registry = new Registry()
  const set = gaugesIn(registry)
  const { modules, lags, log, timeoutMs = 2_000 } = options
  const ask = async <T>(source: string, question: Promise<T>, tell: (answer: T) => void) => {
    const late = () => new Error(`No answer within ${timeoutMs} ms.`)
    const answer = await within(question, timeoutMs, late).catch((error: unknown) => {
      log.debug({ source, error: messageOf(error) }, 'a source of metrics did not answer')
      return undefined
    })
    set('bulkhead_source_up', 'Whether what the scrape asks has answered', { source }, answer === undefined ? 0 : 1)
    if (answer !== undefined) tell(answer)
  }
  const askLags = modules.map(({ name, consumers }) =>
    lags(
      name,
      consumers.map((consumer) => ({ group: consumer.name, topic: consumer.topic })),
    ),
  )
  const askComplete = modules.map(async ({ name, snapshots }) => ({ name, complete: await snapshots.complete() }))
  await Promise.all([
    ...modules.map((module) => ask(module.name, module.measure(), (found) => tellModule(set, module.name, found))),
    ask('broker', Promise.all(askLags), (found) => {
      for (const { group, topic, behind } of found.flat())
        set(
          'bulkhead_consumer_lag_messages',
          'Messages of the topic that the consumer has not handled',
          { consumer: group, topic },
          behind,
        )
    }),
    ask('redis', Promise.all(askComplete), (found) => {
      for (const { name, complete } of found)
        set('bulkhead_snapshots_complete', 'Whether Redis holds them all', { module: name }, complete ? 1 : 0)
    }),
  ])
  return registry.metrics()
}

const tellModule = (set: SetGauge, module: string, { outbox, deadLetters, sagas, timers }: Measures): void => {
  set('bulkhead_outbox_messages', 'Messages that wait for the relay', { module }, outbox.messages)
  set('bulkhead_outbox_oldest_age_seconds', 'Age of the first of them', { module }, outbox.oldestAge)
  set('bulkhead_timers', 'Timers and calls that are set', { module }, timers.waiting)
  set('bulkhead_timers_overdue_seconds', 'How long the first of them has been due', { module }, timers.overdueAge)
  for (const { consumer, status, count } of deadLetters)
    set('bulkhead_dead_letters', 'Messages that are held', { consumer, status }, count)
  for (const { name, status, count, oldestAge } of sagas) {
    set('bulkhead_sagas', 'Sagas that have not ended', { module, name, status }, count)
    set('bulkhead_sagas_oldest_age_seconds', 'Age of the first of them', { module, name, status }, oldestAge)
  }
}

const ofThisProcess = <Name extends string>({ pools, redis }: ScrapeOptions<Name>): Promise<string> => {
  const registry = new Registry()
  const set = gaugesIn(registry)
  for (const { module, load } of pools) {
    const { size, inUse, waiting } = load()
    set('bulkhead_postgres_connections', 'Connections for transactions', { module, state: 'in-use' }, inUse)
    set('bulkhead_postgres_connections', '', { module, state: 'free' }, size - inUse)
    set('bulkhead_postgres_waiting', 'Transactions that wait for a connection', { module }, waiting)
  }
  for (const [use, stands] of Object.entries(redis.connections()))
    set('bulkhead_redis_connections', 'Connections that stand', { use }, stands ? 1 : 0)
  const { user, system } = process.cpuUsage()
  const { rss, heapUsed } = process.memoryUsage()
  set('process_cpu_seconds_total', 'CPU time of this process', {}, (user + system) / 1e6)
  set('process_resident_memory_bytes', 'Memory of this process', {}, rss)
  set('process_heap_bytes', 'Heap in use', {}, heapUsed)
  set('process_start_time_seconds', 'When this process started', {}, (Date.now() - process.uptime() * 1_000) / 1e3)
  return registry.metrics()
}
