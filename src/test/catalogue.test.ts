import { expect, test } from 'bun:test'
import { join } from 'node:path'
import * as orders from '#events/orders'
import * as payments from '#events/payments'
import * as users from '#events/users'
import { messageTypesOf } from '#platform/messaging/catalogue'

const declared = messageTypesOf(users, orders, payments).map(({ type, topic }) => `${type} on ${topic.name}`)

const row = /^\| `([a-z-]+\.[a-z-]+\.v\d+)` \| `([a-z-]+)` \|/gm

test('the catalogue in README.md has every message of the code, on its topic, and no other', async () => {
  const text = await Bun.file(join(import.meta.dir, '../../README.md')).text()
  const listed = [...text.matchAll(row)].map(([, type, topic]) => `${type} on ${topic}`)
  expect(declared.length).toBeGreaterThan(0)
  expect(listed.toSorted()).toEqual(declared.toSorted())
})
