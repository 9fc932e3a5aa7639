import { describe, expect, test } from 'bun:test'
import { type Fault, faultKinds, placeOf } from './fault.ts'
import { planFaults } from './plan.ts'

const apps = 3
const seeds = Array.from({ length: 40 }, (_, index) => index * 7_919)
const plan = (seed: number, seconds: number, kinds = faultKinds) => planFaults({ seed, seconds, apps, kinds })

const countOf = (faults: Fault[], kind: string) => faults.filter((fault) => fault.kind === kind).length

const during = (faults: Fault[], atMs: number) =>
  faults.filter((fault) => fault.atMs <= atMs && atMs <= fault.atMs + fault.forMs)

describe('the plan of the faults', () => {
  test('is the same for the same seed and length, and another for another seed', () => {
    for (const seed of seeds) expect(plan(seed, 120)).toEqual(plan(seed, 120))
    expect(plan(1, 120)).not.toEqual(plan(2, 120))
  })

  test('has every kind within a minute', () => {
    for (const seed of seeds) expect(new Set(plan(seed, 60).map(({ kind }) => kind))).toEqual(new Set(faultKinds))
  })

  test('has three hundred faults in twenty minutes, and ten of each kind', () => {
    for (const seed of seeds) {
      const faults = plan(seed, 1_200)
      expect(faults.length).toBeGreaterThanOrEqual(300)
      for (const kind of faultKinds) expect(countOf(faults, kind)).toBeGreaterThanOrEqual(10)
    }
  })

  test('takes every fault back before its end', () => {
    for (const seed of seeds)
      for (const { atMs, forMs } of plan(seed, 60)) expect(atMs + forMs).toBeLessThanOrEqual(60_000)
  })

  test('lets faults of different kinds overlap, never two in one place', () => {
    for (const seed of seeds) {
      const faults = plan(seed, 300)
      const together = faults.map(({ atMs }) => during(faults, atMs).map(placeOf))
      expect(together.some((places) => places.length > 1)).toBe(true)
      for (const places of together) expect(new Set(places).size).toBe(places.length)
    }
  })

  test('leaves a process and one of the shared services alone at any time', () => {
    for (const seed of seeds) {
      const faults = plan(seed, 300)
      for (const { atMs } of faults) {
        const places = during(faults, atMs).map(placeOf)
        expect(places.filter((place) => place.startsWith('app-')).length).toBeLessThan(apps)
        expect(places.filter((place) => ['postgres', 'broker', 'redis'].includes(place)).length).toBeLessThan(3)
      }
    }
  })

  test('does without a kind that this machine cannot do', () => {
    const without = faultKinds.filter((kind) => kind !== 'app-clock')
    expect(countOf(plan(1, 1_200, without), 'app-clock')).toBe(0)
  })
})
