import { type AnyMessageType, type JsonSchema, dataSchemaOf } from '#platform/messaging/catalogue'
import type { Topic } from '#platform/messaging/message'

const text = (description: string, more: JsonSchema = {}): JsonSchema => ({ type: 'string', description, ...more })

/** The headers that `src/platform/messaging/cloud-event.ts` writes. */
const headersOf = ({ type, topic }: AnyMessageType): JsonSchema => {
  const isEvent = topic.kind === 'events'
  const required = {
    ce_specversion: { const: '1.0' },
    ce_id: text('Of this message, however often it is delivered', { format: 'uuid' }),
    ce_type: { const: type },
    ce_source: isEvent ? { const: `/modules/${topic.source}` } : text('/modules/<who sent it>'),
    ce_subject: text('The id of what it is about'),
    ce_time: text('When it happened', { format: 'date-time' }),
    ce_correlationid: text('The name of the story that it belongs to'),
    ce_causationid: text('The message or the request that caused it'),
    'content-type': { const: 'application/json' },
    ...(isEvent && { ce_sequence: text('1, 2, 3, ... for each key', { pattern: '^[1-9][0-9]*$' }) }),
  }
  const traceparent = text('W3C trace context of what emitted it, when there is one')
  return { type: 'object', required: Object.keys(required), properties: { ...required, traceparent } }
}

const messageOf = (message: AnyMessageType) => ({
  name: message.type,
  title: message.type,
  contentType: 'application/json',
  correlationId: { location: '$message.header#/ce_correlationid' },
  headers: headersOf(message),
  payload: dataSchemaOf(message),
  bindings: { kafka: { key: text(message.topic.key), bindingVersion: '0.5.0' } },
})

const channelOf = ({ name, source, kind, key }: Topic, own: AnyMessageType[]) => ({
  address: name,
  title: name,
  description:
    kind === 'events'
      ? `What happened in ${source}; keyed by ${key}.`
      : `What others ask of ${source}; keyed by ${key}.`,
  messages: Object.fromEntries(own.map(({ type }) => [type, { $ref: `#/components/messages/${type}` }])),
  bindings: { kafka: { topic: name, bindingVersion: '0.5.0' } },
})

const operationOf = ({ name, source, kind }: Topic) => ({
  action: kind === 'events' ? 'send' : 'receive',
  channel: { $ref: `#/channels/${name}` },
  summary: kind === 'events' ? `${source} publishes` : `${source} accepts`,
  bindings: { kafka: { bindingVersion: '0.5.0' } },
})

/** The messages of this system as an AsyncAPI 3.0 document, made from the schemas that they are decoded with. */
export const asyncapiDocument = (messages: AnyMessageType[]) => {
  const topics = new Map(messages.map(({ topic }) => [topic.name, topic]))
  const perTopic = <T>(make: (topic: Topic) => T): Record<string, T> =>
    Object.fromEntries([...topics].map(([name, topic]) => [name, make(topic)]))
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Bulkhead',
      version: '1',
      description:
        'CloudEvents 1.0 in Kafka binary mode. Readers tolerate fields and types that they do not know; a breaking change is a new type, `.v2`. No message holds personal data.',
    },
    defaultContentType: 'application/json',
    channels: perTopic((topic) =>
      channelOf(
        topic,
        messages.filter((message) => message.topic.name === topic.name),
      ),
    ),
    operations: perTopic(operationOf),
    components: { messages: Object.fromEntries(messages.map((message) => [message.type, messageOf(message)])) },
  }
}
