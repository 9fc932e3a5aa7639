import { expect, test } from 'bun:test'
import { assert, integer, property } from 'fast-check'
import { backoffMs, sleep } from './retry.ts'

test('a wait doubles up to its limit and is drawn between half and all of it', () => {
  const attempts = integer({ min: 1, max: 10_000 })
  const firsts = integer({ min: 1, max: 10_000 })
  assert(
    property(attempts, firsts, firsts, (attempt, firstMs, more) => {
      const maxMs = firstMs + more
      const ceiling = Math.min(maxMs, firstMs * 2 ** Math.min(attempt - 1, 40))
      const wait = backoffMs(attempt, { firstMs, maxMs })
      return wait >= ceiling / 2 && wait <= ceiling
    }),
  )
})

test('those who failed together do not return together', () => {
  const waits = Array.from({ length: 100 }, () => backoffMs(5, { firstMs: 100, maxMs: 10_000 }))
  expect(new Set(waits).size).toBeGreaterThan(90)
})

test('a sleep ends at once when it is aborted, before or while it lasts', async () => {
  await sleep(1_000_000, AbortSignal.abort())
  const controller = new AbortController()
  const sleeping = sleep(1_000_000, controller.signal)
  controller.abort(new Error('on purpose'))
  await sleeping
})
