import { describe, expect, test } from 'bun:test'
import { array, assert, integer, property, shuffledSubarray } from 'fast-check'
import { type KeyState, type Turn, judgeHead, start, takeTurns } from './key-order.ts'

const turn = (sequence: number | undefined, kind: Turn['kind'] = 'wanted', key = 'a'): Turn => ({
  key,
  sequence,
  kind,
  restates: false,
})

const restatement = (sequence: number, kind: Turn['kind'] = 'wanted'): Turn => ({
  ...turn(sequence, kind),
  restates: true,
})

const name = ({ key, sequence }: Turn) => `${key}${sequence ?? ''}`

const run = (arrived: Turn[], before: Record<string, KeyState> = {}) => {
  const keys = new Map(Object.entries(before))
  const { apply, hold, filled } = takeTurns(keys, arrived)
  return {
    apply: apply.map(name),
    hold: hold.map(({ turn, status, because }) => `${name(turn)} ${status} ${because}`),
    filled,
    a: keys.get('a'),
  }
}

describe('messages of a key', () => {
  test('are applied one after the other', () => {
    expect(run([turn(1), turn(2), turn(3)])).toMatchObject({
      apply: ['a1', 'a2', 'a3'],
      a: { sequence: 3, blocked: false },
    })
  })

  test('that nobody wants move the sequence on', () => {
    expect(run([turn(1), turn(2, 'passed'), turn(3)])).toMatchObject({ apply: ['a1', 'a2', 'a3'], hold: [] })
  })

  test('wait for one that is missing, and may follow it when it comes', () => {
    expect(run([turn(2), turn(3)])).toMatchObject({
      apply: [],
      hold: ['a2 waiting gap', 'a3 queued behind'],
      a: { sequence: 0, blocked: true },
    })
    expect(run([turn(1)], { a: { sequence: 0, blocked: true } })).toMatchObject({
      apply: ['a1'],
      filled: ['a'],
      a: { sequence: 1, blocked: true },
    })
  })

  test('are queued behind one that is poison, which blocks no other key', () => {
    expect(run([turn(1), turn(2, 'poison'), turn(3), turn(1, 'wanted', 'b')])).toMatchObject({
      apply: ['a1', 'b1'],
      hold: ['a2 parked poison', 'a3 queued behind'],
      a: { sequence: 1, blocked: true },
    })
  })

  test('whose sequence has passed are parked and block nothing', () => {
    expect(run([turn(2), turn(4)], { a: { sequence: 3, blocked: false } })).toMatchObject({
      apply: ['a4'],
      hold: ['a2 parked step-back'],
      a: { blocked: false },
    })
  })

  test('of a key that is older than the consumer may begin anywhere, and then go on without a gap', () => {
    const keys = new Map<string, KeyState>()
    const arrived = [turn(5), turn(6), turn(8), turn(5, 'wanted', 'b')]
    const { apply, hold } = takeTurns(keys, arrived, (key) => key === 'a')
    expect(apply.map(name)).toEqual(['a5', 'a6'])
    expect(hold.map(({ turn, because }) => `${name(turn)} ${because}`)).toEqual(['a8 gap', 'b5 gap'])
  })

  test('that nobody wants and whose sequence has passed are no news', () => {
    expect(run([turn(2, 'passed')], { a: { sequence: 3, blocked: false } })).toMatchObject({ apply: [], hold: [] })
  })

  test('without a sequence are applied as they come, and queued behind one that is parked', () => {
    expect(run([turn(undefined), turn(undefined, 'poison'), turn(undefined)])).toMatchObject({
      apply: ['a'],
      hold: ['a parked poison', 'a queued behind'],
    })
  })
})

describe('a restatement', () => {
  test('need not follow what is missing before it, and the next follows it', () => {
    expect(run([turn(1), restatement(4), turn(5), turn(7)])).toMatchObject({
      apply: ['a1', 'a4', 'a5'],
      hold: ['a7 waiting gap'],
    })
  })

  test('that nobody wants moves the sequence past what is missing', () => {
    expect(run([restatement(4, 'passed'), turn(5)])).toMatchObject({ apply: ['a4', 'a5'], hold: [] })
  })

  test('is queued behind what is held, and ends its wait', () => {
    expect(run([turn(2), restatement(4)])).toMatchObject({
      apply: [],
      hold: ['a2 waiting gap', 'a4 queued behind'],
      filled: ['a'],
    })
  })

  test('that cannot be handled, or whose sequence has passed, is held like any other', () => {
    expect(run([restatement(4, 'poison')])).toMatchObject({ apply: [], hold: ['a4 parked poison'] })
    expect(run([restatement(2)], { a: { sequence: 3, blocked: false } })).toMatchObject({
      hold: ['a2 parked step-back'],
    })
  })
})

test('the first held message is applied in its turn, waits at a gap, and is parked when it cannot be handled', () => {
  const state = { sequence: 3, blocked: true }
  expect([turn(4), turn(5), turn(3), turn(4, 'poison'), turn(undefined)].map((head) => judgeHead(state, head))).toEqual(
    ['apply', 'wait', 'step-back', 'poison', 'apply'],
  )
})

test('whatever the order and the batches in which messages come, each is applied once and in its order', () => {
  const length = 8
  const wanted = Array.from({ length }, (_, index) => index + 1)
  const shuffled = shuffledSubarray(wanted, { minLength: length })
  assert(
    property(shuffled, array(integer({ min: 1, max: 4 }), { minLength: length }), (order, sizes) => {
      const keys = new Map<string, KeyState>()
      const applied: (number | undefined)[] = []
      let queue: Turn[] = []
      const drain = () => {
        for (let head = queue[0]; head && judgeHead(keys.get('a') ?? start, head) === 'apply'; head = queue[0]) {
          queue.shift()
          applied.push(head.sequence)
          keys.set('a', { sequence: head.sequence ?? 0, blocked: queue.length > 0 })
        }
      }
      for (let at = 0, batch = 0; at < order.length; batch += 1) {
        const size = sizes[batch] ?? 1
        const { apply, hold, filled } = takeTurns(
          keys,
          order.slice(at, at + size).map((sequence) => turn(sequence)),
        )
        at += size
        applied.push(...apply.map(({ sequence }) => sequence))
        queue = [...queue, ...hold.map(({ turn }) => turn)].toSorted((a, b) => (a.sequence ?? 0) - (b.sequence ?? 0))
        if (filled.length > 0) drain()
      }
      expect(applied).toEqual(wanted)
      expect(queue).toEqual([])
    }),
  )
})
