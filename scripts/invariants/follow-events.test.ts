import { describe, expect, test } from 'bun:test'
import { followEvents } from './follow-events.ts'

const known = 'orders.counted.v1'
const restated = 'orders.count-restated.v1'

const event = (key: string, sequence: unknown, id: string = Bun.randomUUIDv7(), type = known) => ({
  key,
  headers: { ce_id: id, ce_type: type, ce_sequence: String(sequence) },
})

/** What is said of these events as they come, then of the key `a` at that version, then of whatever else is left. */
const said = (events: { key: string; headers: Record<string, string> }[], version: number, cut = false) => {
  const { take, compare, left } = followEvents(new Set([known, restated]))
  const wrong = events.map((each) => take(each, cut)).filter((line) => line !== undefined)
  return [...wrong, ...(compare('a', version) ?? ['no event']), ...[...left()].map(({ key }) => `${key} is left`)]
}

describe('nothing is said', () => {
  test('of events that are 1, 2, 3, ... and as many as the version', () => {
    expect(said([event('a', 1), event('a', 2), event('a', 3)], 3)).toEqual([])
  })

  test('of an event that comes again', () => {
    const [one, two] = [event('a', 1), event('a', 2)]
    expect(said([one, two, one, two, event('a', 3)], 3)).toEqual([])
  })

  test('of a type of another release, wherever it stands', () => {
    const foreign = (sequence: number) => event('a', sequence, Bun.randomUUIDv7(), 'orders.counted.v9')
    expect(said([event('a', 1), foreign(2), event('a', 3), foreign(3), foreign(9)], 3)).toEqual([])
    expect(said([event('a', 1), event('b', 1, 'x', 'orders.else.v1')], 1)).toEqual([])
  })

  test('of a record that is no event', () => {
    const headers = { ce_type: known, ce_id: 'x' }
    expect(
      said([event('a', 1), { key: 'b', headers }, event('b', 'two'), event('b', -1), event('b', 1e12)], 1),
    ).toEqual([])
  })

  test('of events that the broker no longer keeps', () => {
    expect(said([event('a', 3), event('a', 4)], 4, true)).toEqual([])
  })
})

describe('of what a restatement stands for', () => {
  const again = (sequence: number) => event('a', sequence, Bun.randomUUIDv7(), restated)

  test('nothing is missing before it, and everything after it', () => {
    expect(said([event('a', 1), again(9), event('a', 10)], 10)).toEqual([])
    expect(said([again(3)], 3)).toEqual([])
    expect(said([again(3), event('a', 5)], 5)).toEqual(['has version 5, and its event 4 is missing'])
  })

  test('its place is its own, and what comes late is swapped', () => {
    expect(said([again(2), event('a', 2, 'other')], 2)).toHaveLength(1)
    expect(said([again(2), event('a', 1, 'late')], 2)).toEqual([`a: event 1, ${known} late, comes after event 2`])
  })
})

describe('it is said', () => {
  test('that an event is missing: the first, one in between, the last', () => {
    expect(said([event('a', 2)], 2)).toEqual(['has version 2, and its event 1 is missing'])
    expect(said([event('a', 1), event('a', 3)], 3)).toEqual(['has version 3, and its event 2 is missing'])
    expect(said([event('a', 1)], 2)).toEqual(['has version 2, and its event 2 is missing'])
    expect(said([event('a', 3), event('a', 5)], 5, true)).toEqual(['has version 5, and its event 4 is missing'])
  })

  test('that two have the same number', () => {
    expect(said([event('a', 1), event('a', 2), event('a', 2, 'other')], 2)).toEqual([
      `a: event 2 is there twice, the second time as ${known} other`,
    ])
  })

  test('that two were swapped', () => {
    expect(said([event('a', 1), event('a', 3), event('a', 2, 'late')], 3)).toEqual([
      `a: event 2, ${known} late, comes after event 3`,
    ])
  })

  test('that there are more than the row has versions', () => {
    expect(said([event('a', 1), event('a', 2)], 1)).toEqual(['has version 1 and an event 2'])
  })

  test('that a row has none, and that a key has no row', () => {
    expect(said([event('b', 1)], 1)).toEqual(['no event', 'b is left'])
  })
})
