import { describe, expect, test } from 'bun:test'
import { z } from 'zod'
import { dataSchemaOf } from '#platform/messaging/catalogue'
import { defineEvent, eventTopic } from '#platform/messaging/message'
import { advice, judge } from '../publish-messages.ts'
import { type Published, breachesOf } from './breaches.ts'
import { modules, readPublished } from './published.ts'

const type = 'carts.cart-filled.v1'

const line = { sku: z.string(), quantity: z.int().positive() }
const cart = {
  cartId: z.uuid(),
  status: z.enum(['open', 'closed']),
  lines: z.array(z.object(line)),
  note: z.string().optional(),
}

const published = (fields: z.ZodRawShape, topic = 'cart-events'): Published => {
  const event = defineEvent(eventTopic('carts', topic), type, z.object(fields))
  return { [type]: { topic, schema: dataSchemaOf(event) } }
}

const { note: _, ...withoutNote } = cart

const breaches: [name: string, fields: z.ZodRawShape, at: string, what: RegExp][] = [
  ['a field that is removed', withoutNote, 'note', /removed/],
  ['a field that is renamed', { ...withoutNote, remark: cart.note }, 'note', /removed/],
  ['a field of another type', { ...cart, cartId: z.int() }, 'cartId', /type was "string" and is "integer"/],
  ['a field of another format', { ...cart, cartId: z.string() }, 'cartId', /format was "uuid" and is free/],
  ['a field that may be null', { ...cart, cartId: z.uuid().nullable() }, 'cartId', /was "string" and is|is free|anyOf/],
  ['a new field that is required', { ...cart, total: z.int() }, 'total', /new and required/],
  ['an optional field that becomes required', { ...cart, note: z.string() }, 'note', /optional and is required/],
  ['a required field that becomes optional', { ...cart, status: cart.status.optional() }, 'status', /is optional/],
  ['an enum that is narrowed', { ...cart, status: z.enum(['open']) }, 'status', /no longer takes "closed"/],
  ['an enum that is widened', { ...cart, status: z.enum(['open', 'closed', 'lost']) }, 'status', /may be "lost"/],
  [
    'a range that is narrowed',
    { ...cart, note: z.string().max(10).optional() },
    'note',
    /maxLength was free and is 10/,
  ],
  [
    'a field of an item',
    { ...cart, lines: z.array(z.object({ ...line, quantity: z.string() })) },
    'lines[].quantity',
    /type was/,
  ],
]

describe('a published type is broken by', () => {
  for (const [name, fields, at, what] of breaches) {
    test(name, () => {
      expect(breachesOf(published(cart), published(fields))).toEqual(
        expect.arrayContaining([{ type, at, what: expect.stringMatching(what) }]),
      )
    })
  }

  test('its removal', () => {
    expect(breachesOf(published(cart), {})).toEqual([{ type, at: '', what: 'the type was removed' }])
  })

  test('another topic', () => {
    expect(breachesOf(published(cart), published(cart, 'other-events'))).toEqual([
      { type, at: '', what: 'moved from cart-events to other-events' },
    ])
  })
})

test('a breach is refused with the type to add instead', () => {
  const { breaches } = judge(published(cart), published({ ...cart, cartId: z.int() }))
  expect(breaches).toEqual([expect.stringContaining('add carts.cart-filled.v2')])
  expect(advice({ type: 'a.b.v9', at: '', what: 'x' })).toContain('a.b.v10')
})

test('words, optional fields and further types break nothing, and are to be published', () => {
  const described = { ...cart, cartId: z.uuid().describe('Whose it is') }
  expect(breachesOf(published(cart), published(described))).toEqual([])
  const further = published({
    ...cart,
    remark: z.string().optional(),
    lines: z.array(z.object({ ...line, gift: z.boolean().optional() })),
  })
  expect(judge(published(cart), further)).toEqual({ breaches: [], unpublished: [type] })
  expect(judge({}, published(cart))).toEqual({ breaches: [], unpublished: [type] })
  expect(judge(published(cart), published(cart))).toEqual({ breaches: [], unpublished: [] })
})

test('every type that the modules declare is published as it is', async () => {
  for (const { path, declared } of modules) {
    expect(Object.keys(declared).length).toBeGreaterThan(0)
    expect(judge(await readPublished(path), declared)).toEqual({ breaches: [], unpublished: [] })
  }
})
