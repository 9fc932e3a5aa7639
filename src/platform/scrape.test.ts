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

const moduleOf = (name: string, measure: () => Promise<Measures>) => ({
  name,
  consumers: [{ name: `${name}.user-events`, topic: 'user-events' }],
  measure,
})

const scrapeOf = (measure: () => Promise<Measures>, keepMs = 0) =>
  createScrape({
    modules: [moduleOf('orders', () => Promise.resolve(measures)), moduleOf('users', measure)],
    pools: [{ module: 'orders', load: () => ({ size: 16, inUse: 5, waiting: 2 }) }],
    lags: (_, asked) => Promise.resolve(asked.map((one) => ({ ...one, behind: 9 }))),
    log: silent,
    timeoutMs: 20,
    keepMs,
  })

const sources = [
  ['is dead', () => Promise.reject(new Error('connection refused'))],
  ['hangs', () => new Promise<never>(() => undefined)],
] as const

for (const [what, measure] of sources) {
  test(`a database that ${what} is told as down, and everything else is told as ever`, async () => {
    const text = await scrapeOf(measure)()
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
    ])
      expect(text.split('\n')).toContain(line)
  })
}

test('many scrapes at once ask the services once, and later ones ask again', async () => {
  let asked = 0
  const scrape = scrapeOf(async () => {
    asked += 1
    return { ...measures, outbox: { messages: asked, oldestAge: 0 } }
  }, 50)
  const texts = await Promise.all([scrape(), scrape(), scrape()])
  for (const text of texts) expect(text).toContain('bulkhead_outbox_messages{module="users"} 1\n')
  expect(asked).toBe(1)
  await eventually(async () => expect(await scrape()).toContain('bulkhead_outbox_messages{module="users"} 2\n'))
})
