import { type Topic, consumerName } from './message.ts'

/** What a module does on the broker. It says so in its definition, and can do nothing else. */
export type Traffic<Name extends string = string> = {
  name: Name
  /** The topics that the module owns; on those of events it alone publishes. */
  topics: Topic<Name>[]
  /** The topics that its consumers read. */
  consumes: Topic[]
  /** The topics of the commands that it sends, to itself included. */
  sends?: (Topic & { kind: 'commands' })[]
}

/** What a principal may do at the broker: write to and read from topics, and be in consumer groups. */
export type Rights = { principal: string; writes: string[]; reads: string[]; groups: string[] }

/** The topics that a module may emit to. */
export const emitsTo = ({ topics, sends = [] }: Pick<Traffic, 'topics' | 'sends'>): string[] => [
  ...topics.filter(({ kind }) => kind === 'events').map(({ name }) => name),
  ...sends.map(({ name }) => name),
]

/** The rights that a module needs at the broker, and no others. */
export const rightsOf = (traffic: Traffic, principal: string): Rights => ({
  principal,
  writes: emitsTo(traffic),
  reads: traffic.consumes.map(({ name }) => name),
  groups: traffic.consumes.map((topic) => consumerName(traffic.name, topic)),
})

/** Refuses a module whose consumers are not those that it says: it would lack a right, or have one too many. @throws Error */
export const checkConsumers = ({ name, consumes }: Traffic, consumers: { name: string }[]): void => {
  const said = consumes.map((topic) => consumerName(name, topic)).toSorted()
  const found = consumers.map((consumer) => consumer.name).toSorted()
  if (said.join() === found.join()) return
  throw new Error(
    `${name} has the consumers ${found.join(', ')}: say so in \`consumes\`, where it says ${said.join(', ')}.`,
  )
}
