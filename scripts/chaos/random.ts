/** A source of numbers that a seed decides. */
export type Random = {
  /** At least `from` and below `to`, a whole number. */
  between(from: number, to: number): number
  /** True in so many of a hundred cases. */
  percent(chance: number): boolean
  /** @throws Error when there is nothing to choose from */
  pick<T>(items: readonly T[]): T
  shuffle<T>(items: readonly T[]): T[]
}

/** mulberry32: 32 bits of state, and the same numbers on every machine. */
export const createRandom = (seed: number): Random => {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between: Random['between'] = (from, to) => from + Math.floor(next() * (to - from))
  return {
    between,
    percent: (chance) => next() * 100 < chance,
    pick: <T>(items: readonly T[]): T => {
      if (items.length === 0) throw new Error('There is nothing to choose from.')
      return items[between(0, items.length)] as T
    },
    shuffle: (items) => {
      const shuffled = [...items]
      for (let at = shuffled.length - 1; at > 0; at -= 1) {
        const other = between(0, at + 1)
        const held = shuffled[at] as (typeof shuffled)[number]
        shuffled[at] = shuffled[other] as (typeof shuffled)[number]
        shuffled[other] = held
      }
      return shuffled
    },
  }
}
