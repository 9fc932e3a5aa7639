/**
 * The steps after which something outside this process is different, for good or until it is undone: a process that dies
 * right before or right after one of them is what every mechanism is built for.
 */
export type Step =
  /** What a command changed, with its messages. */
  | 'transaction.commit'
  /** A refusal is the answer of an `Idempotency-Key` from now on. */
  | 'answer.keep'
  | 'relay.claim'
  | 'relay.send'
  /** The messages that were acknowledged leave the outbox. */
  | 'relay.delete'
  | 'relay.release'
  | 'consumer.join'
  /** Partitions are in the hands of this process. */
  | 'consumer.take'
  /** A message that may have killed a process is begun. */
  | 'consumer.begin'
  | 'consumer.leave'
  /** What messages changed, with their inbox rows and with what is held of them. */
  | 'consumer.commit'
  | 'consumer.park'
  | 'consumer.offsets'
  | 'held.commit'
  | 'held.park'
  | 'held.resolve'
  | 'timer.claim'
  | 'timer.commit'
  | 'timer.postpone'
  | 'call.send'
  | 'call.commit'
  | 'retention.commit'
  | 'redis.snapshots'
  | 'redis.lists'
  | 'redis.flags'
  | 'redis.set'
  | 'redis.extend'
  | 'redis.mark'
  | 'redis.count'
  | 'redis.delete'

/**
 * Performs a durable step under its name, and nothing else. The name is what a test kills the process at, by putting
 * another module in the place of this one; there is no switch for it here.
 */
export const durable = <T>(_step: Step, perform: () => Promise<T>): Promise<T> => perform()
