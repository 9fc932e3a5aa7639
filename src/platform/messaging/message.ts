import type { z } from 'zod'

/** Where a message comes from in the story of one request; carried in its headers and in the log. */
export type Trace = {
  /** The name of the whole story: the client's `Correlation-Id`, or made up at the edge. */
  correlationId: string
  /** The message, or the request, that caused this one. */
  causationId: string
  /** W3C trace context of the causing span, when there is one. */
  traceparent?: string
}

export type Topic<Source extends string = string> = {
  name: string
  /** The module that owns the topic. */
  source: Source
  /** `events`: the owner publishes, with a sequence a key; `commands`: others ask the owner. */
  kind: 'events' | 'commands'
  /** What the key of its messages is, for the catalogue. */
  key: string
}

/** What a module's consumer of a topic is called, in the inbox and as a consumer group. */
export const consumerName = (module: string, { name }: Topic): string => `${module}.${name}`

/** A message as a module emits it: one aggregate, one fact or one request. */
export type Message<Source extends string = string, Kind extends Topic['kind'] = Topic['kind'], Data = unknown> = {
  topic: Topic<Source> & { kind: Kind }
  type: string
  /** The aggregate's id: the CloudEvents subject and, unless `key` says otherwise, the Kafka key. */
  subject: string
  key: string
  /** 1, 2, 3, ... per key on an events topic: the aggregate's version, raised while its row is locked. */
  sequence: number | undefined
  data: Data
}

/** A message as a consumer receives it, decoded. */
export type Received<Data = unknown> = {
  id: string
  type: string
  source: string
  subject: string
  key: string
  sequence: number | undefined
  time: Date
  trace: Trace
  data: Data
}

export type MessageType<Source extends string, Kind extends Topic['kind'], Data> = {
  type: string
  topic: Topic<Source> & { kind: Kind }
  schema: z.ZodType<Data>
}

export type EventType<Source extends string, Data> = MessageType<Source, 'events', Data> &
  ((subject: string, sequence: number, data: Data) => Message<Source, 'events', Data>)

export type CommandType<Receiver extends string, Data> = MessageType<Receiver, 'commands', Data> &
  ((subject: string, key: string, data: Data) => Message<Receiver, 'commands', Data>)

/** What a module may emit: its own events, and commands of whoever declares them. */
export type Emittable<Source extends string> = Message<Source, 'events'> | Message<string, 'commands'>

/** Records a message in the outbox of the transaction it was given with. */
export type Emit<Source extends string> = (message: Emittable<Source>) => void

/** Declares a topic on which the module `source` publishes its events, keyed by aggregate id; `key` says in words which. */
export const eventTopic = <Source extends string>(source: Source, name: string, key = 'the id of the aggregate') =>
  ({ name, source, kind: 'events', key }) as const

/** Declares a topic on which others send commands to the module `receiver`; `key` says in words what they are keyed by. */
export const commandTopic = <Receiver extends string>(receiver: Receiver, name: string, key = 'chosen by the sender') =>
  ({ name, source: receiver, kind: 'commands', key }) as const

/**
 * Declares an event. The result makes messages, `userRegistered(user.id, user.version, data)`, and carries the schema
 * that consumers decode with. Data must hold no personal data. A breaking change is a new type that ends in the next `.vN`.
 */
export const defineEvent = <Source extends string, Data>(
  topic: Topic<Source> & { kind: 'events' },
  type: string,
  schema: z.ZodType<Data>,
): EventType<Source, Data> => {
  const make = (subject: string, sequence: number, data: Data): Message<Source, 'events', Data> => ({
    topic,
    type,
    subject,
    key: subject,
    sequence,
    data,
  })
  return Object.assign(make, { type, topic, schema })
}

/** What the type of a restatement ends in; a regular expression of Postgres too. */
export const restatementPattern = String.raw`-restated\.v\d+$`

const restatement = new RegExp(restatementPattern)

/** Whether a message of this type says the whole state of its aggregate, whatever was said before. */
export const isRestatement = (type: string): boolean => restatement.test(type)

/**
 * Declares the event by which `republish` says the state of an aggregate again. Its type ends in `-restated.vN`: consumers know
 * it by that, also those that do not handle it. It tells what is and asks for nothing; an effect that another event asks for,
 * like a charge, must not follow from it. @throws Error when the type ends otherwise
 */
export const defineRestatement = <Source extends string, Data>(
  topic: Topic<Source> & { kind: 'events' },
  type: string,
  schema: z.ZodType<Data>,
): EventType<Source, Data> => {
  if (!isRestatement(type)) throw new Error(`${type} says a state again: its name must end in -restated.vN.`)
  return defineEvent(topic, type, schema)
}

/** Declares a command that the module owning `topic` accepts. A sender imports it from the receiver's `events.ts`. */
export const defineCommand = <Receiver extends string, Data>(
  topic: Topic<Receiver> & { kind: 'commands' },
  type: string,
  schema: z.ZodType<Data>,
): CommandType<Receiver, Data> => {
  const make = (subject: string, key: string, data: Data): Message<Receiver, 'commands', Data> => ({
    topic,
    type,
    subject,
    key,
    sequence: undefined,
    data,
  })
  return Object.assign(make, { type, topic, schema })
}
