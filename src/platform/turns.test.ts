import { expect, test } from 'bun:test'
import { createTurns } from './turns.ts'

test('each work begins when the one before it has ended, also when that failed', async () => {
  const inTurn = createTurns()
  const seen: string[] = []
  const work = (name: string, fails = false) =>
    inTurn(async () => {
      seen.push(`${name} begins`)
      await Promise.resolve()
      seen.push(`${name} ends`)
      if (fails) throw new Error(`${name} failed`)
      return name
    })
  const outcomes = await Promise.allSettled([work('a'), work('b', true), work('c')])
  expect(outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : String(outcome.reason)))).toEqual([
    'a',
    'Error: b failed',
    'c',
  ])
  expect(seen).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
})
