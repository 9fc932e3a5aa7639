import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { type Held, type KeyState, type Turn, takeTurns } from './key-order.ts'

const turn = (sequence: number | undefined, kind: Turn<string>['kind'] = 'wanted', key = 'a'): Turn<string> => ({
  item: `${key}${sequence ?? ''}`,
  key,
  sequence,
  kind,
})

const held = (sequence: number | undefined, status: Held<string>['status'], id = `id-${sequence}`): Held<string> => ({
  ...turn(sequence),
  status,
  id,
})

const run = (arrived: Turn<string>[], before: Record<string, KeyState> = {}, queue: Held<string>[] = []) => {
  const keys = new Map(Object.entries(before))
  const queues = new Map(queue.length > 0 ? [['a', queue] as const] : [])
  const { apply, hold, release, wait } = takeTurns(keys, queues, arrived)
  return {
    apply: apply.map(({ item }) => item),
    hold: hold.map(({ item, status }) => `${item} ${status}`),
    release,
    wait,
    a: keys.get('a'),
  }
}

describe('messages of a key', () => {
  test('are applied one after the other', () => {
    expect(run([turn(1), turn(2), turn(3)])).toMatchObject({ apply: ['a1', 'a2', 'a3'], a: { sequence: 3, blocked: false } })
  })

  test('that nobody wants move the sequence on', () => {
    expect(run([turn(1), turn(2, 'passed'), turn(3)])).toMatchObject({ apply: ['a1', 'a2', 'a3'], hold: [] })
  })

  test('wait for one that is missing, and follow it when it comes', () => {
    const gap = run([turn(2), turn(3)])
    expect(gap).toMatchObject({ apply: [], hold: ['a2 waiting', 'a3 queued'], a: { sequence: 0, blocked: true } })
    const filled = run([turn(1), turn(4)], { a: { sequence: 0, blocked: true } }, [held(2, 'waiting'), held(3, 'queued')])
    expect(filled).toMatchObject({
      apply: ['a1', 'a2', 'a3', 'a4'],
      release: ['id-2', 'id-3'],
      a: { sequence: 4, blocked: false },
    })
  })

  test('that come in the wrong order within one batch are applied in the right one', () => {
    expect(run([turn(3), turn(2), turn(1), turn(4)]).apply).toEqual(['a1', 'a2', 'a3', 'a4'])
    expect(run([turn(2), turn(1), turn(3)])).toMatchObject({ apply: ['a1', 'a2', 'a3'], hold: [] })
  })

  test('wait at the next gap', () => {
    const filled = run([turn(1)], { a: { sequence: 0, blocked: true } }, [held(2, 'waiting'), held(4, 'queued')])
    expect(filled).toMatchObject({ apply: ['a1', 'a2'], wait: ['id-4'], a: { sequence: 2, blocked: true } })
  })

  test('are queued behind one that is poison, which blocks no other key', () => {
    expect(run([turn(1), turn(2, 'poison'), turn(3), turn(1, 'wanted', 'b')])).toMatchObject({
      apply: ['a1', 'b1'],
      hold: ['a2 parked', 'a3 queued'],
      a: { sequence: 1, blocked: true },
    })
  })

  test('stay behind one that is parked', () => {
    const before = { a: { sequence: 1, blocked: true } }
    expect(run([turn(3), turn(4)], before, [held(2, 'parked')])).toMatchObject({
      apply: [],
      hold: ['a3 queued', 'a4 queued'],
    })
  })

  test('whose sequence has passed are parked and block nothing', () => {
    expect(run([turn(2), turn(4)], { a: { sequence: 3, blocked: false } })).toMatchObject({
      apply: ['a4'],
      hold: ['a2 parked'],
    })
  })

  test('without a sequence are applied as they come, and queued behind one that is parked', () => {
    expect(run([turn(undefined), turn(undefined, 'poison'), turn(undefined)])).toMatchObject({
      apply: ['a'],
      hold: ['a parked', 'a queued'],
    })
  })
})

test('whatever the order and the batches in which messages come, each is applied once and in its order', () => {
  const length = 8
  const shuffled = fc.shuffledSubarray(
    Array.from({ length }, (_, index) => index + 1),
    { minLength: length },
  )
  fc.assert(
    fc.property(shuffled, fc.array(fc.integer({ min: 1, max: 4 }), { minLength: length }), (order, sizes) => {
      const keys = new Map<string, KeyState>()
      let queue: Held<string>[] = []
      const applied: (number | undefined)[] = []
      for (let at = 0, batch = 0; at < order.length; batch += 1) {
        const size = sizes[batch] ?? 1
        const arrived = order.slice(at, at + size).map((sequence) => turn(sequence))
        at += size
        const { apply, hold, release } = takeTurns(keys, new Map([['a', queue]]), arrived)
        applied.push(...apply.map(({ sequence }) => sequence))
        queue = [...queue.filter(({ id }) => !release.includes(id ?? '')), ...hold.map((entry) => ({ ...entry, id: entry.item }))]
      }
      expect(applied).toEqual(order.toSorted((a, b) => a - b))
      expect(queue).toEqual([])
    }),
  )
})
