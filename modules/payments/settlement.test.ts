import { describe, expect, test } from 'bun:test'
import * as fc from 'fast-check'
import { z } from 'zod'
import { type Period, type Total, addUp, sliceOf, slices, total } from './settlement.ts'

const utc = z.iso.datetime()

const moment = fc.date({
  noInvalidDate: true,
  min: new Date('0001-01-01T00:00:00Z'),
  max: new Date('9999-12-31T00:00:00Z'),
})

/** From a single millisecond to years. */
const lengthMs = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 100_000_000_000 }))

const period = fc.tuple(moment, lengthMs).map(([from, ms]): Period => ({
  from: from.toISOString(),
  to: new Date(Math.min(from.getTime() + ms, Date.parse('9999-12-31T23:59:59.999Z'))).toISOString(),
}))

const count = fc.oneof(fc.constant(slices), fc.integer({ min: 1, max: 100 }))

const slicesOf = (period: Period, count: number): Period[] =>
  Array.from({ length: count }, (_, slice) => sliceOf(period, slice, count))

describe('the slices of a period', () => {
  test('meet without a gap or an overlap, from its beginning to its end, however short it is', () => {
    fc.assert(
      fc.property(period, count, (period, count) => {
        const parts = slicesOf(period, count)
        expect(parts[0]?.from).toBe(period.from)
        expect(parts.at(-1)?.to).toBe(period.to)
        for (const [index, { from, to }] of parts.entries()) {
          expect(Date.parse(from)).toBeLessThanOrEqual(Date.parse(to))
          if (index > 0) expect(from).toBe(parts[index - 1]?.to ?? '')
        }
      }),
      { numRuns: 1_000 },
    )
  })

  test('hold each of its moments exactly once', () => {
    fc.assert(
      fc.property(period, count, fc.nat(), (period, count, drawn) => {
        const start = Date.parse(period.from)
        const at = start + (drawn % (Date.parse(period.to) - start))
        const holders = slicesOf(period, count).filter(({ from, to }) => Date.parse(from) <= at && at < Date.parse(to))
        expect(holders).toHaveLength(1)
      }),
      { numRuns: 1_000 },
    )
  })

  test('of a millisecond are empty, but for one', () => {
    const blink = { from: '2026-01-31T12:00:00.000Z', to: '2026-01-31T12:00:00.001Z' }
    expect(slicesOf(blink, slices).filter(({ from, to }) => from < to)).toEqual([blink])
  })

  test('are equally long, give or take a millisecond', () => {
    fc.assert(
      fc.property(period, count, (period, count) => {
        const lengths = slicesOf(period, count).map(({ from, to }) => Date.parse(to) - Date.parse(from))
        expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1)
      }),
    )
  })

  test('are written in UTC, as their message wants them, wherever the period was written', () => {
    const here = { from: '2026-01-01T00:00:00+01:00', to: '2026-02-01T00:00:00+01:00' }
    const parts = slicesOf(here, slices)
    expect(parts[0]?.from).toBe('2025-12-31T23:00:00.000Z')
    expect(parts.at(-1)?.to).toBe('2026-01-31T23:00:00.000Z')
    for (const { from, to } of parts) expect([from, to].every((at) => utc.safeParse(at).success)).toBe(true)
  })
})

const amount = fc.integer({ min: 0, max: 1_000_000_000 })

const part = fc
  .uniqueArray(
    fc.record({
      currency: fc.constantFrom('EUR', 'USD', 'JPY'),
      captured: amount,
      refunded: amount,
      payments: fc.nat(1_000),
    }),
    { selector: ({ currency }) => currency },
  )
  .map((totals): Total[] => totals.map((total) => ({ ...total, net: total.captured - total.refunded })))

const parts = fc.array(part, { maxLength: slices })

describe('the total', () => {
  test('does not depend on the order in which the parts arrive', () => {
    const shuffled = parts.chain((parts) =>
      fc.tuple(fc.constant(parts), fc.shuffledSubarray(parts, { minLength: parts.length })),
    )
    fc.assert(
      fc.property(shuffled, ([parts, arrived]) => {
        expect(addUp(arrived)).toEqual(addUp(parts))
      }),
      { numRuns: 1_000 },
    )
  })

  test('does not depend on how the period was split', () => {
    fc.assert(
      fc.property(parts, fc.nat(slices), (parts, cut) => {
        expect(addUp([addUp(parts.slice(0, cut)), addUp(parts.slice(cut))])).toEqual(addUp(parts))
      }),
    )
  })

  test('counts every part once in its currency, and its net is what was captured less what was refunded', () => {
    fc.assert(
      fc.property(parts, (parts) => {
        const sums = addUp(parts)
        const every = (currency: string) => parts.flat().filter((total) => total.currency === currency)
        expect(sums.map(({ currency }) => currency)).toEqual(
          [...new Set(parts.flat().map(({ currency }) => currency))].toSorted(),
        )
        for (const sum of sums) {
          const captured = every(sum.currency).reduce((all, total) => all + total.captured, 0)
          const payments = every(sum.currency).reduce((all, total) => all + total.payments, 0)
          expect(sum).toMatchObject({ captured, payments, net: sum.captured - sum.refunded })
          expect(total.parse(sum)).toEqual(sum)
        }
      }),
    )
  })

  test('of no part, or of parts without a payment, is nothing', () => {
    expect(addUp([])).toEqual([])
    expect(addUp([[], []])).toEqual([])
  })
})
