import type { FlowPart, FlowTimer, FlowTransition } from '#platform/flow'
import { timeOfId } from '#platform/messaging/inbox'

/** One thing that happened, or is to happen; its children are what it led to. */
export type FlowNode = {
  kind: 'request' | 'message' | 'handling' | 'saga' | 'step' | 'timer' | 'call'
  id: string
  /** The message's type, the consumer, the saga, the step, or the kind of the timer. */
  name: string
  /** The module whose tables tell it; null for a request. */
  module: string | null
  at: string | null
  outcome: string
  /** Why it is as it is, where there is more to say. */
  detail: string | null
  children: FlowNode[]
}

export type Flow = {
  correlationId: string
  /** `settled`: nothing more is to come; `under-way`: something is; `held`: something waits for its turn or an operator. */
  outcome: 'settled' | 'under-way' | 'held'
  /** Some of it is not told, because there is so much. */
  truncated: boolean
  /** The requests of this story, mostly one, each with what it led to. */
  children: FlowNode[]
}

type Message = {
  id: string
  type: string
  source: string
  topic: string
  key: string
  causationId: string
  at: string
  state: string
}

type Caused = { module: string } & ({ message: Message } | { timer: FlowTimer } | { transition: FlowTransition })

/** What the modules know, and what each request or message led to. */
type Story = { parts: FlowPart[]; messages: Map<string, Message>; caused: Map<string, Caused[]> }

/** Joins what the modules know of a story into a tree; undefined when none knows anything of it. */
export const joinFlow = (correlationId: string, parts: FlowPart[]): Flow | undefined => {
  const story = gather(parts)
  const roots = [...story.caused.keys()].filter((id) => !story.messages.has(id))
  if (roots.length === 0) return undefined
  const children = inTime(roots.map((id) => requestNode(story, id)))
  const truncated = parts.some((part) => part.truncated)
  return { correlationId, outcome: outcomeOf(parts, children), truncated, children }
}

const unknown = 'unknown'

const gather = (parts: FlowPart[]): Story => {
  const messages = messagesOf(parts)
  const timed = new Set(parts.flatMap(({ timers }) => timers.flatMap(({ emitted }) => emitted)))
  const caused: [causeId: string, Caused][] = []
  for (const message of messages.values()) {
    const { id, causationId, source } = message
    // What came of a timer is told there. A message that names itself as its cause has none that is known.
    if (!timed.has(id)) caused.push([causationId === id ? unknown : causationId, { module: source, message }])
  }
  for (const { module, timers, transitions } of parts) {
    for (const timer of timers) caused.push([timer.causationId, { module, timer }])
    for (const transition of transitions) caused.push([transition.causationId ?? unknown, { module, transition }])
  }
  const grouped = Map.groupBy(caused, ([causeId]) => causeId)
  return { parts, messages, caused: new Map([...grouped].map(([id, pairs]) => [id, pairs.map(([, one]) => one)])) }
}

/** Each message as its sender tells it, or else as who handled it does. */
const messagesOf = (parts: FlowPart[]): Map<string, Message> => {
  const handled = parts.flatMap(({ handlings }) =>
    handlings.map(({ messageId: id, at, held }): Message => {
      const bare = { id, type: unknown, source: unknown, topic: unknown, key: unknown, causationId: unknown, at }
      return { ...bare, ...held, state: 'sent' }
    }),
  )
  const emitted = parts.flatMap(({ module, messages }) => messages.map((message) => ({ ...message, source: module })))
  return new Map([...handled, ...emitted].map((message) => [message.id, message]))
}

const requestNode = (story: Story, id: string): FlowNode => {
  const madeAt = timeOfId(id)
  const at = madeAt === undefined ? null : new Date(madeAt).toISOString()
  const children = ledTo(story, id)
  return { kind: 'request', id, name: 'request', module: null, at, outcome: 'accepted', detail: null, children }
}

const ledTo = (story: Story, causeId: string, where: (module: string) => boolean = () => true): FlowNode[] =>
  inTime((story.caused.get(causeId) ?? []).filter(({ module }) => where(module)).map((one) => nodeOf(story, one)))

const nodeOf = (story: Story, caused: Caused): FlowNode => {
  if ('message' in caused) return messageNode(story, caused.message)
  if ('timer' in caused) return timerNode(story, caused.module, caused.timer)
  return sagaNode(caused.module, caused.transition)
}

const messageNode = (story: Story, message: Message): FlowNode => {
  const { id, type, source, at, state, topic, key } = message
  const handlings = story.parts.flatMap((part) => handlingNodes(story, part, message))
  const handlers = new Set(handlings.map(({ module }) => module))
  const others = ledTo(story, id, (module) => !handlers.has(module))
  return {
    kind: 'message',
    id,
    name: type,
    module: source,
    at,
    outcome: state,
    detail: `on ${topic}, key ${key}`,
    children: [...inTime(handlings), ...others],
  }
}

/** How the module's consumers have handled the message, and which are yet to. */
const handlingNodes = (story: Story, { module, consumers, handlings }: FlowPart, message: Message): FlowNode[] => {
  const known = handlings.filter(({ messageId }) => messageId === message.id)
  const awaited = consumers.filter(
    ({ name, topic, types }) =>
      topic === message.topic && types.includes(message.type) && !known.some(({ consumer }) => consumer === name),
  )
  const nodeFor = (name: string, told: Pick<FlowNode, 'at' | 'outcome' | 'detail' | 'children'>): FlowNode => ({
    kind: 'handling',
    id: message.id,
    name,
    module,
    ...told,
  })
  return [
    ...known.map(({ consumer, at, outcome, held }) => {
      const children = ledTo(story, message.id, (of) => of === module)
      return nodeFor(consumer, { at, outcome, detail: held?.error ?? null, children })
    }),
    ...awaited.map(({ name }) => nodeFor(name, { at: null, outcome: 'awaited', detail: null, children: [] })),
  ]
}

const timerNode = (story: Story, module: string, timer: FlowTimer): FlowNode => {
  const { kind, key, isCall, setAt, at, outcome, attempts, emitted } = timer
  const due = outcome === 'waiting' ? `set at ${setAt}, due at ${at}` : `set at ${setAt}`
  return {
    kind: isCall ? 'call' : 'timer',
    id: key,
    name: kind,
    module,
    at,
    outcome: isCall && outcome === 'fired' ? 'answered' : outcome,
    detail: attempts > 1 ? `${due}, tried ${attempts} times` : due,
    children: emitted.flatMap((id) => {
      const message = story.messages.get(id)
      return message ? [messageNode(story, message)] : []
    }),
  }
}

const sagaNode = (module: string, { sagaId, name, version, at, status, heard }: FlowTransition): FlowNode => ({
  kind: 'saga',
  id: sagaId,
  name,
  module,
  at,
  outcome: status,
  detail: `transition ${version}`,
  children: heard.map(({ step, outcome, detail }) => ({
    kind: 'step',
    id: sagaId,
    name: step,
    module,
    at,
    outcome,
    detail,
    children: [],
  })),
})

/** What has not happened yet comes last. */
const inTime = (nodes: FlowNode[]): FlowNode[] => nodes.toSorted((a, b) => ((a.at ?? '9') < (b.at ?? '9') ? -1 : 1))

const heldOutcomes = new Set(['parked', 'waiting', 'queued'])

const outcomeOf = (parts: FlowPart[], nodes: FlowNode[]): Flow['outcome'] => {
  const sagas = new Map(parts.flatMap(({ transitions }) => transitions.map(({ sagaId, status }) => [sagaId, status])))
  const handlings = parts.flatMap((part) => part.handlings)
  if (handlings.some(({ outcome }) => heldOutcomes.has(outcome))) return 'held'
  if ([...sagas.values()].includes('needs-operator')) return 'held'
  return nodes.some(isUnderWay) ? 'under-way' : 'settled'
}

const isUnderWay = ({ kind, outcome, children }: FlowNode): boolean =>
  outcome === 'awaited' || (kind !== 'handling' && outcome === 'waiting') || children.some(isUnderWay)
