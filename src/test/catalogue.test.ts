import { expect, test } from 'bun:test'
import { join } from 'node:path'
import * as orders from '#events/orders'
import * as payments from '#events/payments'
import * as users from '#events/users'
import { ordersTraffic } from '#modules/orders'
import { paymentsTraffic } from '#modules/payments'
import { users as usersTraffic } from '#modules/users'
import { rightsOf } from '#platform/messaging/rights'
import { messageTypesOf } from '#platform/messaging/catalogue'

const declared = messageTypesOf(users, orders, payments).map(({ type, topic }) => `${type} on ${topic.name}`)

const row = /^\| `([a-z-]+\.[a-z-]+\.v\d+)` \| `([a-z-]+)` \|/gm

const readme = () => Bun.file(join(import.meta.dir, '../../README.md')).text()

test('the catalogue in README.md has every message of the code, on its topic, and no other', async () => {
  const listed = [...(await readme()).matchAll(row)].map(([, type, topic]) => `${type} on ${topic}`)
  expect(declared.length).toBeGreaterThan(0)
  expect(listed.toSorted()).toEqual(declared.toSorted())
})

const rights = /^\| (users|orders|payments) \| ([a-z`, -]+) \| ([a-z`, -]+) \|$/gm

test('the rights at the broker in README.md are those that migrate gives', async () => {
  const names = (cell = '') => [...cell.matchAll(/`([a-z-]+)`/g)].map(([, name]) => name)
  const listed = [...(await readme()).matchAll(rights)].map(([, module, writes, reads]) => [
    module,
    names(writes),
    names(reads),
  ])
  const given = [usersTraffic, ordersTraffic, paymentsTraffic].map((traffic) => {
    const { principal, writes, reads, groups } = rightsOf(traffic, traffic.name)
    expect(groups).toEqual(reads.map((topic) => `${principal}.${topic}`))
    return [principal, writes, reads]
  })
  expect(listed).toEqual(given)
})
