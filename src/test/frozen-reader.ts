import { sleep } from '#platform/retry'
import { testBroker } from './messaging.ts'

// A process that reads a topic in a group, takes a second for each batch, and says at which offset it begins with one; to be
// frozen meanwhile.

const [brokers = '', group = '', topic = ''] = process.argv.slice(2)

const subscription = testBroker({ KAFKA_BROKERS: brokers }, 1_500).subscribe({
  group,
  topic,
  handle: async ({ records }) => {
    console.log(records[0]?.offset)
    await sleep(1_000)
  },
})
await subscription.start()
