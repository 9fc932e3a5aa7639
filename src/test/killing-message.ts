import { sql } from 'drizzle-orm'
import { createConsumer, onEach } from '#platform/messaging/consumer'
import { type Accused, beTried, createTrial } from '#platform/messaging/trial'
import { openPostgres } from '#platform/postgres'
import { outboxOn } from './mechanism.ts'
import { countedOn, silent, testBroker } from './messaging.ts'

// A process that consumes a topic of counted events, each with one row of effect, and dies at once of one whose count is
// below zero, as it would if its memory ran out. One whose count is zero takes for ever, but not where it is tried: with
// `tried` behind the topic the process handles what another died with, and nothing else.

const [brokers = '', url = '', topic = '', tried] = process.argv.slice(2)
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
        if (data.count === 0 && !tried) await new Promise(() => undefined)
      }),
    ],
  },
  postgres,
  outbox: outboxOn(postgres),
  broker: testBroker({ KAFKA_BROKERS: brokers }, 1_000),
  log: silent,
  committed: () => undefined,
  trial: createTrial({ command: [process.execPath, import.meta.path, brokers, url, topic, 'tried'] }),
})
const prepared = () => Promise.resolve(({ record, position }: Accused) => consumer.attempt(record, position))
await (tried ? beTried(prepared) : consumer.start())
