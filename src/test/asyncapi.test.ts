import { Parser } from '@asyncapi/parser'
import { expect, test } from 'bun:test'
import * as orders from '#events/orders'
import * as payments from '#events/payments'
import * as users from '#events/users'
import { messageTypesOf } from '#platform/messaging/catalogue'
import { toHeaders } from '#platform/messaging/cloud-event'
import { createFaces } from './faces.ts'
import { asyncapiDocument } from '../bff/asyncapi.ts'

const declared = messageTypesOf(users, orders, payments)

const parse = (document: object) => new Parser().parse(JSON.stringify(document))

/** Without the advice to use a newer version of AsyncAPI. */
const complaints = ({ diagnostics }: Awaited<ReturnType<typeof parse>>) =>
  diagnostics.filter(({ code }) => code !== 'asyncapi-latest-version').map(({ code, message }) => `${code}: ${message}`)

test('the document is AsyncAPI 3.0 without a complaint, and has every topic and every type', async () => {
  const parsed = await parse(asyncapiDocument(declared))
  expect(complaints(parsed)).toEqual([])
  expect(parsed.document?.version()).toBe('3.0.0')
  const channels = parsed.document?.channels().all() ?? []
  const listed = channels.flatMap((channel) =>
    channel
      .messages()
      .all()
      .map((message) => `${message.name()} on ${channel.address()}`),
  )
  expect(listed.toSorted()).toEqual(declared.map(({ type, topic }) => `${type} on ${topic.name}`).toSorted())
  expect(new Set(channels.map((channel) => channel.address()))).toEqual(
    new Set(['user-events', 'order-events', 'payment-events', 'payment-commands', 'payment-tasks']),
  )
})

test('each type is described with its key, its headers and its data', async () => {
  const { components } = asyncapiDocument(declared)
  for (const message of declared) {
    const described = components.messages[message.type]
    expect(described?.bindings.kafka.key).toEqual({ type: 'string', description: message.topic.key })
    expect(described?.payload).toMatchObject({ type: 'object', required: expect.any(Array) })
    expect(described?.payload).not.toHaveProperty('additionalProperties')
    const sent = toHeaders({
      id: 'id',
      topic: message.topic.name,
      key: 'key',
      type: message.type,
      source: message.topic.source,
      subject: 'subject',
      sequence: message.topic.kind === 'events' ? 1 : undefined,
      time: 'now',
      trace: { correlationId: 'story', causationId: 'cause', traceparent: 'parent' },
      value: '{}',
    })
    const { properties = {}, required = [] } = (described?.headers ?? {}) as {
      properties?: object
      required?: string[]
    }
    expect(Object.keys(properties).toSorted()).toEqual(Object.keys(sent).toSorted())
    expect(required.toSorted()).toEqual(
      Object.keys(sent)
        .filter((name) => name !== 'traceparent')
        .toSorted(),
    )
  }
})

test('the check sees a document that is none', async () => {
  const document = asyncapiDocument(declared)
  const without = { ...document, operations: { none: { action: 'sing', channel: { $ref: '#/channels/nowhere' } } } }
  expect(complaints(await parse(without))).not.toEqual([])
})

test('it is served to anybody, and linked from the page of the API', async () => {
  const { bff } = await createFaces()
  const response = await bff.request('/asyncapi.json')
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json'])
  expect(await response.json()).toEqual(JSON.parse(JSON.stringify(asyncapiDocument(declared))))
  expect(await (await bff.request('/docs')).text()).toContain('href="/asyncapi.json"')
})
