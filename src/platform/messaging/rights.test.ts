import { expect, test } from 'bun:test'
import { commandTopic, eventTopic } from './message.ts'
import { checkConsumers, rightsOf } from './rights.ts'

const parcelEvents = eventTopic('parcels', 'parcel-events')
const parcelCommands = commandTopic('parcels', 'parcel-commands')
const billCommands = commandTopic('bills', 'bill-commands')
const billEvents = eventTopic('bills', 'bill-events')

test('a module may publish its events, send the commands that it says it sends, and read what it consumes in its own groups', () => {
  const traffic = {
    name: 'parcels',
    topics: [parcelEvents, parcelCommands],
    consumes: [parcelCommands, billEvents],
    sends: [billCommands],
  }
  expect(rightsOf(traffic, 'a-name')).toEqual({
    principal: 'a-name',
    writes: ['parcel-events', 'bill-commands'],
    reads: ['parcel-commands', 'bill-events'],
    groups: ['parcels.parcel-commands', 'parcels.bill-events'],
  })
})

test('a module that takes commands sends itself none, unless it says so', () => {
  expect(rightsOf({ name: 'parcels', topics: [parcelCommands], consumes: [] }, 'a-name').writes).toEqual([])
})

test('a consumer that a module does not speak of is refused, and one that is not there', () => {
  const traffic = { name: 'parcels', topics: [], consumes: [parcelEvents, billEvents] }
  const own = { name: 'parcels.parcel-events' }
  const bills = { name: 'parcels.bill-events' }
  const other = { name: 'parcels.bill-commands' }
  expect(() => checkConsumers(traffic, [bills, own])).not.toThrow()
  expect(() => checkConsumers(traffic, [own])).toThrow('parcels has the consumers parcels.parcel-events')
  expect(() => checkConsumers(traffic, [own, bills, other])).toThrow('say so in `consumes`')
})
