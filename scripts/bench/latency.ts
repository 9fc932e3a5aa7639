import { sleep } from '#platform/retry'
import { bareKafka, bareProducer, createTopic } from './bare-kafka.ts'
import { asOwner } from './environment.ts'
import { type Bench, type Scenario, alternate, format, quantile } from './scenario.ts'
import { hostUsers } from './users-module.ts'

const perSecond = 300
const settleLimitMs = 20_000

type Latency = { p50: number; p99: number }

/** When each thing began and when it was seen; either may come first. */
export const createStopwatch = () => {
  const began = new Map<string, number>()
  const seen = new Map<string, number>()
  return {
    began: (id: string, at = performance.now()) => void began.set(id, at),
    seen: (id: string) => void (seen.has(id) || seen.set(id, performance.now())),
    /** Waits until all that began was seen. */
    latency: async (): Promise<Latency> => {
      for (const deadline = performance.now() + settleLimitMs; [...began.keys()].some((id) => !seen.has(id));) {
        if (performance.now() > deadline)
          throw new Error(`${began.size} events were not all seen in ${settleLimitMs} ms.`)
        await sleep(20)
      }
      const took = [...began].map(([id, at]) => Math.max(0, (seen.get(id) ?? 0) - at))
      return { p50: quantile(took, 0.5), p99: quantile(took, 0.99) }
    },
  }
}

/** Calls `fire` at a steady rate, whether or not the earlier calls have been answered. */
export const openLoop = async (
  { seconds, perSecond }: { seconds: number; perSecond: number },
  fire: () => Promise<unknown>,
): Promise<void> => {
  const startedAt = performance.now()
  const fired: Promise<unknown>[] = []
  for (let n = 0; n < seconds * perSecond; n += 1) {
    const wait = startedAt + (n * 1_000) / perSecond - performance.now()
    if (wait > 0) await sleep(wait)
    fired.push(fire())
  }
  await Promise.all(fired)
}

/**
 * From the acknowledged commit to the acknowledged write of the snapshot. The host that commits relays and projects as well,
 * or leaves both to the other, as where they are two processes.
 */
const openOurs = async (bench: Bench) => {
  const elsewhere = hostUsers(bench)
  let watch = createStopwatch()
  const { hosted, redis, register, close } = hostUsers(bench, (redis) => ({
    ...redis,
    setUnlessNewer: async (entries) => {
      const written = await redis.setUnlessNewer(entries)
      for (const { key } of entries) watch.seen(key.slice(key.lastIndexOf(':') + 1))
      return written
    },
  }))
  await Promise.all([redis.connected(5_000), elsewhere.redis.connected(5_000)])
  await hosted.start()
  const measure = (register: () => Promise<string>) => async (seconds: number) => {
    await asOwner(bench, 'checkpoint')
    watch = createStopwatch()
    await openLoop({ seconds, perSecond }, async () => watch.began(await register()))
    return watch.latency()
  }
  return {
    measure: measure(register),
    measureElsewhere: measure(elsewhere.register),
    close: async () => {
      await hosted.stop()
      await Promise.all([close(), elsewhere.close()])
    },
  }
}

/** From the call of `send` to the call of `eachMessage`, in one process. */
const openBare = async (bench: Bench) => {
  const topic = 'bench-latency'
  await createTopic(bench, topic)
  let watch = createStopwatch()
  const producer = await bareProducer(bench)
  const consumer = bareKafka(bench).consumer({ groupId: 'bench-latency' })
  const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve))
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    eachMessage: ({ message }) => {
      watch.seen(message.key?.toString() ?? '')
      return Promise.resolve()
    },
  })
  await joined
  const value = 'v'.repeat(350)
  return {
    measure: async (seconds: number): Promise<Latency> => {
      watch = createStopwatch()
      await openLoop({ seconds, perSecond }, () => {
        const key = Bun.randomUUIDv7()
        watch.began(key)
        return producer.send({ topic, acks: -1, messages: [{ key, value }] })
      })
      return watch.latency()
    },
    close: async () => {
      await consumer.disconnect()
      await producer.disconnect()
    },
  }
}

export const latency: Scenario = {
  name: 'latency',
  needs: [],
  run: async (bench) => {
    const seconds = bench.seconds * 2
    const [ours, bare] = await Promise.all([openOurs(bench), openBare(bench)])
    try {
      // Bun goes on compiling this path for thousands of events: without them the first runs show that instead.
      await bare.measure(seconds)
      await ours.measure(seconds * 2)
      const say = ({ p50, p99 }: Latency) => `p50 ${format(p50)} ms and p99 ${format(p99)} ms`
      const rowsOf = async (name: string, what: string, measure: (seconds: number) => Promise<Latency>) => {
        const sides = { limit: () => bare.measure(seconds), figure: () => measure(seconds) }
        const measured = await alternate(bench, sides, say)
        const row = (quantile: keyof Latency, atMost: number) => ({
          scenario: `${name} ${quantile}`,
          figure: `commit to snapshot visible at ${perSecond} registrations a second${what}`,
          unit: 'ms',
          figures: measured.figure.map((each) => each[quantile]),
          limit: 'bare kafkajs, send to eachMessage, at the same rate',
          limits: measured.limit.map((each) => each[quantile]),
          target: { atMost },
        })
        return [row('p50', 3), row('p99', 4)]
      }
      return [
        ...(await rowsOf('latency', '', ours.measure)),
        ...(await rowsOf('latency elsewhere', ', by a host that does not relay', ours.measureElsewhere)),
      ]
    } finally {
      await Promise.all([ours.close(), bare.close()])
      await asOwner(bench, 'truncate users.users, users.outbox, users.inbox')
    }
  },
}
