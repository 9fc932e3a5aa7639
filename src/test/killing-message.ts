import { sql } from 'drizzle-orm'
import { createConsumer, onEach } from '#platform/messaging/consumer'
import { openPostgres } from '#platform/postgres'
import { outboxOn } from './mechanism.ts'
import { countedOn, silent, testBroker } from './messaging.ts'

// A process that consumes a topic of counted events, each with one row of effect, and dies at once of one whose count is
// below zero, as it would if its memory ran out.

const [brokers = '', url = '', topic = ''] = process.argv.slice(2)
const counted = countedOn(topic)
const postgres = openPostgres({ url, name: 'test-killing', poolSize: 2 })

const consumer = createConsumer<'orders'>({
  module: 'orders',
  definition: {
    topic: counted.topic,
    handlers: [
      onEach(counted, async ({ tx }, { id, data }) => {
        await tx.execute(sql`insert into effects values (${id}, ${process.pid})`)
        if (data.count < 0) process.kill(process.pid, 'SIGKILL')
      }),
    ],
  },
  postgres,
  outbox: outboxOn(postgres),
  broker: testBroker({ KAFKA_BROKERS: brokers }, 1_000),
  log: silent,
  committed: () => undefined,
})
await consumer.start()
