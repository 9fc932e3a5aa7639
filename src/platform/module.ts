import { type CallDefinition, createCalls } from './calls.ts'
import { type IdempotencyKey, type StoredAnswer, findAnswer, keepAnswer } from './idempotency.ts'
import { durable } from './durable.ts'
import type { Log } from './log.ts'
import type { Hints } from './hints.ts'
import { OverloadedError } from './errors.ts'
import { type FlowPart, createFlow } from './flow.ts'
import { checkIsolation } from './isolation.ts'
import { type Measures, measure } from './measure.ts'
import { type Consumer, type ConsumerDefinition, createConsumer } from './messaging/consumer.ts'
import { type DeadLetters, createDeadLetters } from './messaging/dead-letter.ts'
import type { Broker } from './messaging/kafka.ts'
import type { Trial } from './messaging/trial.ts'
import type { Trace } from './messaging/message.ts'
import { type Keep, type Transact, createOutbox } from './messaging/outbox.ts'
import { type Relay, createRelay } from './messaging/relay.ts'
import { type Traffic, checkConsumers, emitsTo } from './messaging/rights.ts'
import { type Together, createTogether } from './messaging/together.ts'
import { checkSchemaVersion } from './migrations.ts'
import type { Postgres, Tx } from './postgres.ts'
import type { RedisClient } from './redis.ts'
import { type Republishing, type Restating, createRepublish } from './republish.ts'
import { type Pruning, type Retention, createPruner, prunings } from './retention.ts'
import { sleep } from './retry.ts'
import { type Sagas, createSagas } from './saga/operator.ts'
import type { Saga } from './saga/saga.ts'
import type { SnapshotReader } from './snapshot-reader.ts'
import { type SnapshotSource, type Snapshots, createSnapshots } from './snapshots.ts'
import { type TimerDefinition, createTimers, earliestSet } from './timers.ts'

/** What a module declares to be hosted. */
export type ModuleDefinition<Name extends string> = Traffic<Name> & {
  /** The read models that it keeps in Redis. */
  snapshots: SnapshotSource[]
  consumers(parts: { snapshots: Snapshots }): ConsumerDefinition<Name>[]
  /** What happens when something falls due. */
  timers?: TimerDefinition<Name>[]
  /** What the module asks of the outside. */
  calls?: CallDefinition<Name>[]
  /** What of the module's own tables is deleted by age. */
  prunings?: Pruning[]
  /** What the module orchestrates. */
  sagas?: Saga<Name, object>[]
  /** How its aggregates are said again, for a consumer that has missed their events. */
  restating?: Restating<Name>[]
}

/** What the mechanisms give to a hosted module's commands and queries. */
export type ModuleContext<Name extends string> = {
  /** The story that the request belongs to; what it emits and sets carries it. */
  trace: Trace
  /** One transaction of the module's own database, with its outbox. */
  transact: Transact<Name>
  /** One transaction for this request and those that came at the same moment. */
  together: Together<Name>
  /** Reads the module's own tables outside a transaction; for commands, never for queries. */
  read: Tx
  snapshots: SnapshotReader & Pick<Snapshots, 'flag'>
  newId: () => string
  now: () => Date
}

export type HostedModule<Name extends string> = {
  name: Name
  /**
   * The context of one request; what `keep` makes of its transaction's result commits with it. Its transactions are refused with
   * an `OverloadedError` while the outbox is too old; those of consumers, timers and operators go on.
   */
  context(trace: Trace, keep?: Keep): ModuleContext<Name>
  /** The answer that an `Idempotency-Key` was given before. @throws DomainError `idempotency-key-reused` */
  findAnswer(key: IdempotencyKey): Promise<StoredAnswer | undefined>
  /** Keeps a refusal as the answer of a key, unless it has one. */
  keepRefusal(key: IdempotencyKey, answer: StoredAnswer): Promise<void>
  snapshots: Snapshots
  deadLetters: DeadLetters
  sagas: Sagas
  /** Says the present state of every aggregate again; how many of each kind, by its name. Safe while serving. */
  republish(options: Republishing): Promise<Map<string, number>>
  /** The consumers by their names, each with its topic, the types of messages that it handles, and a way to one attempt. */
  consumers: (Pick<Consumer, 'name' | 'types' | 'attempt'> & { topic: string })[]
  /** What waits in the module's own tables. */
  measure(): Promise<Measures>
  /** What the module's own tables know of the story with this correlation id. */
  flow(correlationId: string): Promise<FlowPart>
  /**
   * Refuses a schema of another release, one that is not sealed, and a server that is not trusted or does not let us in.
   * @throws StartError saying what to do
   */
  check(): Promise<void>
  /** Starts relay, consumers and the watch over Redis. */
  start(): Promise<void>
  /** Ends consumption, relays what the outbox holds, gives the leases up. The connections are the caller's. */
  stop(): Promise<void>
  /** What is not ready, one sentence each; empty when the module works. */
  notReady(): Promise<string[]>
  /** How old the first message of the outbox was when the relay last looked; 0 when there was none. */
  outboxAgeMs(): number
  /** Resolves when this process has relayed what its outbox held. */
  relayed(): Promise<void>
}

export type HostOptions<Name extends string> = {
  definition: ModuleDefinition<Name>
  postgres: Postgres
  broker: Broker
  redis: RedisClient
  log: Log
  /** This process, as the owner of leases. */
  owner: string
  now?: () => Date
  relayLeaseMs?: number
  /** Commands are held back while the outbox holds a message that is older. */
  outboxMaxAgeMs?: number
  retention?: Retention
  /** Tells the other processes of a commit, and hears of theirs. */
  hints?: Hints
  /** Tries a message that a process died with. */
  trial?: Trial
}

const newId = () => Bun.randomUUIDv7()

const dayMs = 24 * 3_600_000

const defaultRetention: Retention = { inboxMs: 8 * dayMs, answersMs: 2 * dayMs, endedMs: 30 * dayMs }

/** How long a stop waits for the outbox to be relayed; what is left then is relayed by the next process. */
const drainMs = 3_000

/** When somebody who was held back should come again. */
const behindRetrySeconds = 10

/** A consumer or relay that has not been answered for this long is not ready. */
const silentMs = 30_000

/** Ties a module's definition to its database, the broker and Redis. */
export const hostModule = <Name extends string>(options: HostOptions<Name>): HostedModule<Name> => {
  const { definition, postgres, broker, redis, log, owner, now = () => new Date(), relayLeaseMs } = options
  const { retention = defaultRetention, outboxMaxAgeMs = 30 * 60_000, hints, trial } = options
  const { name } = definition
  const producer = broker.producer()
  const relay: Relay = createRelay({
    name,
    run: postgres.run,
    producer,
    log,
    owner,
    ...(relayLeaseMs === undefined ? {} : { leaseMs: relayLeaseMs }),
  })
  // What a transaction here has set to fall due is not left to the next poll.
  const transaction: Postgres['transaction'] = async (work, step) => {
    let tx: object | undefined
    const result = await postgres.transaction((transaction) => {
      tx = transaction.tx
      return work(transaction)
    }, step)
    const dueAt = tx && earliestSet(tx)
    if (dueAt !== undefined) for (const worker of [timers, calls]) worker.wakeAt(dueAt)
    return result
  }
  const committed = () => {
    relay.wake()
    // Another process may hold the shards of what was committed here.
    if (!relay.holdsAll()) hints?.send(name)
  }
  const parts = { postgres: { ...postgres, transaction }, log, committed }
  const outbox = createOutbox({ source: name, emitsTo: emitsTo(definition), newId, now, ...parts })
  const snapshots = createSnapshots({ module: name, redis, read: postgres.read, sources: definition.snapshots, log })
  const consumers: Consumer<Name>[] = definition
    .consumers({ snapshots })
    .map((consumer) =>
      createConsumer({ module: name, definition: consumer, outbox, broker, ...(trial && { trial }), ...parts }),
    )
  checkConsumers(definition, consumers)
  const handled = consumers.map((consumer) => ({
    name: consumer.name,
    topic: consumer.name.slice(name.length + 1),
    types: consumer.types,
    attempt: consumer.attempt,
  }))
  const sagas = definition.sagas ?? []
  const timers = createTimers({
    definitions: [
      ...(definition.timers ?? []),
      ...sagas.map((saga) => saga.timer(now)),
      ...consumers.flatMap(({ gaps, drains }) => [gaps, drains]),
    ],
    outbox,
    ...parts,
  })
  const pruner = createPruner({
    postgres,
    log,
    prunings: [...prunings(retention), ...(definition.prunings ?? [])],
    forget: ({ tx }, ids) => snapshots.forget(tx, ids),
  })
  const together = createTogether({ source: name, outbox, ...parts })
  const refuseBehind = () => {
    if (relay.outboxAgeMs() <= outboxMaxAgeMs) return
    throw new OverloadedError(`What ${name} has to tell the others is not sent: nothing is changed until it is.`, {
      retryAfterSeconds: behindRetrySeconds,
    })
  }
  const calls = createCalls({ definitions: definition.calls ?? [], outbox, ...parts })
  let startedAt = 0

  const silent = (at: number | undefined) => Date.now() - (at ?? startedAt) > silentMs

  return {
    name,
    snapshots,
    consumers: handled,
    measure: () => measure(postgres.run),
    flow: createFlow({
      module: name,
      run: postgres.run,
      consumers: handled,
      calls: (definition.calls ?? []).map(({ kind }) => kind),
    }),
    deadLetters: createDeadLetters({ postgres: parts.postgres, consumers, committed, dedupeMs: retention.inboxMs }),
    republish: createRepublish({ restating: definition.restating ?? [], run: postgres.run, outbox, newId }),
    sagas: createSagas({ sagas, read: postgres.read, transact: outbox.transact, now }),
    context: (trace, keep) => ({
      trace,
      transact: async (work) => {
        refuseBehind()
        return outbox.transact(trace, keep)(work)
      },
      together: async (forAll, request) => {
        refuseBehind()
        return together(trace, keep)(forAll, request)
      },
      read: postgres.read,
      snapshots,
      newId,
      now,
    }),
    findAnswer: (key) => findAnswer(postgres.run, key),
    keepRefusal: async (key, answer) => {
      const { text, parameters } = keepAnswer(key, answer)
      await durable('answer.keep', () => postgres.run(`${text} on conflict do nothing`, parameters))
    },
    check: async () => {
      await broker.signIn()
      await checkSchemaVersion(name, postgres)
      await checkIsolation(name, postgres)
    },
    start: async () => {
      startedAt = Date.now()
      relay.start()
      snapshots.watch()
      timers.start()
      calls.start()
      pruner.start()
      hints?.receive(name, relay.wake)
      await Promise.all(consumers.map((consumer) => consumer.start()))
    },
    stop: async () => {
      await Promise.all([...consumers, timers, calls, pruner].map((worker) => worker.stop()))
      await Promise.race([relay.drained(), sleep(drainMs)])
      await Promise.all([relay.stop(), snapshots.stop()])
      await producer.close()
    },
    notReady: async () => {
      const found: string[] = []
      await postgres.run('select 1').catch(() => found.push(`${name}: Postgres does not answer`))
      if (silent(relay.lastWorkedAt()))
        found.push(`${name}: the relay has not reached its outbox for ${silentMs / 1_000} s`)
      if (relay.failingSince() !== undefined && silent(relay.failingSince())) {
        found.push(`${name}: the broker has taken no message for ${silentMs / 1_000} s`)
      }
      for (const consumer of consumers) {
        if (silent(consumer.lastFetchAt()))
          found.push(`${consumer.name}: nothing was fetched for ${silentMs / 1_000} s`)
      }
      if (definition.snapshots.length > 0 && !(await snapshots.complete().catch(() => false))) {
        found.push(`${name}: the snapshots in Redis are not complete`)
      }
      return found
    },
    outboxAgeMs: () => relay.outboxAgeMs(),
    relayed: () => relay.drained(),
  }
}
