import { sql } from 'drizzle-orm'
import { createConsumer, onEach } from '#platform/messaging/consumer'
import { createOutbox } from '#platform/messaging/outbox'
import { openPostgres } from '#platform/postgres'
import { countedOn, silent, testBroker } from './messaging.ts'

// A process that consumes a topic of counted events, each with one row of effect, and at the point that argv[5] names
// says so and stays there, to be killed: `before-commit` inside the transaction, `after-commit` before any offset.

const [brokers = '', url = '', topic = '', point = ''] = process.argv.slice(2)
const counted = countedOn(topic)
const postgres = openPostgres({ url, name: 'test-killed', poolSize: 2 })
const never = new Promise<never>(() => undefined)

let handled = false

const reach = (name: string) => {
  if (name !== point) return Promise.resolve()
  console.log('reached')
  return never
}

const consumer = createConsumer<'orders'>({
  module: 'orders',
  definition: {
    topic: counted.topic,
    handlers: [
      onEach(counted, async ({ tx, emit }, { id, subject, data }) => {
        await tx.execute(sql`insert into effects values (${id}, ${process.pid})`)
        emit(counted(`from-${subject}`, 1, data))
        handled = true
        await reach('before-commit')
      }),
    ],
  },
  postgres: {
    run: postgres.run,
    transaction: async (work) => {
      const result = await postgres.transaction(work)
      if (handled) await reach('after-commit')
      return result
    },
  },
  outbox: createOutbox<'orders'>({
    source: 'orders',
    postgres,
    newId: () => Bun.randomUUIDv7(),
    now: () => new Date(),
    committed: () => undefined,
  }),
  broker: testBroker({ KAFKA_BROKERS: brokers }, 1_500),
  log: silent,
  committed: () => undefined,
})
await consumer.start()
