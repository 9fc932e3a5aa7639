import { UnavailableError } from '#platform/errors'
import type { Broker, PartitionBatch } from '#platform/messaging/kafka'

export type TopicRecord = PartitionBatch['records'][number]

/** A partition is `cut` when its oldest records are gone: a reader cannot know what they were. */
export type Place = { partition: number; cut: boolean }

const silentMs = 30_000

/**
 * Hands over each record that a topic holds now, once, in the order of its partition; in a consumer group of its own.
 * Says whether any partition is cut. @throws UnavailableError when nothing comes for 30 s
 */
export const readTopic = async (
  broker: Broker,
  topic: string,
  take: (record: TopicRecord, place: Place) => void,
): Promise<{ cut: boolean }> => {
  const group = `check-invariants.${Bun.randomUUIDv7()}`
  const unread = new Map((await broker.lag(group, topic)).map(({ partition, behind }) => [partition, behind]))
  const partitions = new Map<number, { next: number; end: number; cut: boolean }>()
  if (unread.size === 0) return { cut: false }

  const done = Promise.withResolvers<void>()
  const silence = setTimeout(
    () => done.reject(new UnavailableError(`The broker hands over nothing more of ${topic}.`)),
    silentMs,
  )
  const begin = (partition: number, first: number) => {
    const begun = { next: first, end: first + (unread.get(partition) ?? 0), cut: first > 0 }
    partitions.set(partition, begun)
    return begun
  }
  const handle = ({ partition, records }: PartitionBatch): Promise<void> => {
    silence.refresh()
    const at = partitions.get(partition) ?? begin(partition, Number(records[0]?.offset ?? 0))
    for (const record of records) {
      const offset = Number(record.offset)
      // What is handed over again after a rebalance, and what was written since, is passed over.
      if (offset < at.next || offset >= at.end) continue
      at.next = offset + 1
      take(record, { partition, cut: at.cut })
    }
    if ([...unread.keys()].every((each) => (partitions.get(each)?.next ?? -1) >= (partitions.get(each)?.end ?? 0)))
      done.resolve()
    return Promise.resolve()
  }
  const subscription = broker.subscribe({ group, topic, handle })
  try {
    await Promise.all([subscription.start(), done.promise])
    return { cut: [...partitions.values()].some(({ cut }) => cut) }
  } finally {
    clearTimeout(silence)
    await subscription.stop()
  }
}
