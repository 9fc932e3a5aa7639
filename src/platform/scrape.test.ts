import { expect, test } from 'bun:test'
import { eventually } from '../test/eventually.ts'
import { silent } from '../test/messaging.ts'
import type { Measures } from './measure.ts'
import { createScrape } from './scrape.ts'

const measures: Measures = {
  outbox: { messages: 3, oldestAge: 7.5 },
  deadLetters: [{ consumer: 'orders.user-events', status: 'parked', count: 2 }],
  sagas: [{ name: 'checkout', status: 'needs-operator', count: 1, oldestAge: 60 }],
  timers: { waiting: 4, overdueAge: 0 },
}

const moduleOf = (name: string, measure: () => Promise<Measures>, complete: () => Promise<boolean>) => ({
  name,
  snapshots: { complete },
  consumers: [{ name: `${name}.user-events`, topic: 'user-events' }],
  measure,
})

type Scraped = { measure?: () => Promise<Measures>; complete?: () => Promise<boolean>; keepMs?: number }

const healthy = () => Promise.resolve(measures)

const scrapeOf = ({ measure = healthy, complete = () => Promise.resolve(true), keepMs = 0 }: Scraped = {}) =>
  createScrape({
    modules: [moduleOf('orders', healthy, () => Promise.resolve(true)), moduleOf('users', measure, complete)],
    pools: [{ module: 'orders', load: () => ({ size: 16, inUse: 5, waiting: 2 }) }],
    redis: { connections: () => ({ commands: true, channels: false }) },
    lags: (_, asked) => Promise.resolve(asked.map((one) => ({ ...one, behind: 9 }))),
    log: silent,
    timeoutMs: 20,
    keepMs,
  })

const sources: [what: string, ask: () => Promise<never>][] = [
  ['is dead', () => Promise.reject(new Error('connection refused'))],
  ['hangs', () => new Promise<never>(() => undefined)],
]

for (const [what, measure] of sources) {
  test(`a database that ${what} is told as down, and everything else is told as ever`, async () => {
    const text = await scrapeOf({ measure })()
    expect(text).toContain('bulkhead_source_up{source="users"} 0')
    expect(text).not.toContain('bulkhead_outbox_messages{module="users"}')
    for (const line of [
      'bulkhead_source_up{source="orders"} 1',
      'bulkhead_source_up{source="broker"} 1',
      'bulkhead_outbox_messages{module="orders"} 3',
      'bulkhead_outbox_oldest_age_seconds{module="orders"} 7.5',
      'bulkhead_dead_letters{consumer="orders.user-events",status="parked"} 2',
      'bulkhead_sagas{module="orders",name="checkout",status="needs-operator"} 1',
      'bulkhead_sagas_oldest_age_seconds{module="orders",name="checkout",status="needs-operator"} 60',
      'bulkhead_timers{module="orders"} 4',
      'bulkhead_consumer_lag_messages{consumer="users.user-events",topic="user-events"} 9',
      'bulkhead_postgres_connections{module="orders",state="in-use"} 5',
      'bulkhead_postgres_connections{module="orders",state="free"} 11',
      'bulkhead_postgres_waiting{module="orders"} 2',
      'bulkhead_redis_connections{use="commands"} 1',
      'bulkhead_redis_connections{use="channels"} 0',
      'bulkhead_snapshots_complete{module="users"} 1',
    ])
      expect(text.split('\n')).toContain(line)
  })
}

for (const [what, complete] of sources) {
  test(`a Redis that ${what} is told as down, and nothing is told of the snapshots`, async () => {
    const text = await scrapeOf({ complete })()
    expect(text).toContain('bulkhead_source_up{source="redis"} 0')
    expect(text).not.toContain('bulkhead_snapshots_complete')
    expect(text).toContain('bulkhead_source_up{source="broker"} 1')
  })
}

test('snapshots that are not complete are told, by their module', async () => {
  const lines = (await scrapeOf({ complete: () => Promise.resolve(false) })()).split('\n')
  expect(lines).toContain('bulkhead_snapshots_complete{module="orders"} 1')
  expect(lines).toContain('bulkhead_snapshots_complete{module="users"} 0')
  expect(lines).toContain('bulkhead_source_up{source="redis"} 1')
})

test('many scrapes at once ask the services once, and later ones ask again', async () => {
  let asked = 0
  const measure = async () => {
    asked += 1
    return { ...measures, outbox: { messages: asked, oldestAge: 0 } }
  }
  const scrape = scrapeOf({ measure, keepMs: 50 })
  const texts = await Promise.all([scrape(), scrape(), scrape()])
  for (const text of texts) expect(text).toContain('bulkhead_outbox_messages{module="users"} 1\n')
  expect(asked).toBe(1)
  await eventually(async () => expect(await scrape()).toContain('bulkhead_outbox_messages{module="users"} 2\n'))
})
