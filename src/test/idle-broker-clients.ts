import { silent, testBroker } from './messaging.ts'

// A process whose clients of the broker at argv[2] idle after one message on the topic argv[3]; says how many timers it
// set within a second of that.

const [brokers = '', topic = ''] = process.argv.slice(2)
const setTimer = globalThis.setTimeout
let timers = 0
globalThis.setTimeout = Object.assign((...timer: Parameters<typeof setTimer>) => {
  timers += 1
  return setTimer(...timer)
}, setTimer)

const broker = testBroker({ KAFKA_BROKERS: brokers }, 6_000)
const producer = broker.producer()
await producer.send([{ topic, key: 'key', value: '{}', headers: {} }])
const received = Promise.withResolvers<void>()
const subscription = broker.subscribe({
  group: `${topic}-idle`,
  topic,
  handle: () => {
    received.resolve()
    return Promise.resolve()
  },
})
await subscription.start()
await received.promise
silent.info('idle from here')
timers = 0
await Bun.sleep(1_000)
console.log(timers)
process.exit(0)
