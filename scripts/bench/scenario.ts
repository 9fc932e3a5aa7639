import type { Config, Environment } from '../../src/config.ts'
import type { Log } from '#platform/log'

/** What a scenario works with: services of its own, and how long it may take. */
export type Bench = {
  environment: Environment
  config: Config
  /** How often each side is measured. */
  runs: number
  /** How long a side that is measured by time runs, in seconds. */
  seconds: number
  quick: boolean
  log: Log
  progress(line: string): void
}

/** `figure / limit` is at least, or at most, this. */
export type Target = { atLeast: number } | { atMost: number }

export type Row = {
  scenario: string
  /** What the figure is, in words. */
  figure: string
  unit: string
  figures: number[]
  /** What the limit is, in words. */
  limit: string
  limits: number[]
  /** Absent when the row is printed for comparison only. */
  target?: Target
}

/** A program that a scenario cannot do without, and the Debian package that has it. */
export type Tool = { program: string; debianPackage: string }

export type Scenario = { name: string; needs: Tool[]; run(bench: Bench): Promise<Row[]> }

export const median = (values: number[]): number => quantile(values, 0.5)

/** The value below which the share `at` of the values lies, between two values by interpolation. */
export const quantile = (values: number[], at: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const place = (sorted.length - 1) * at
  const [below, above] = [sorted[Math.floor(place)] ?? Number.NaN, sorted[Math.ceil(place)] ?? Number.NaN]
  return below + (above - below) * (place - Math.floor(place))
}

export const ratioOf = ({ figures, limits }: Row): number => median(figures) / median(limits)

export const isReached = (row: Row): boolean | undefined => {
  if (!row.target) return undefined
  const ratio = ratioOf(row)
  return 'atLeast' in row.target ? ratio >= row.target.atLeast : ratio <= row.target.atMost
}

/** Measures the sides in turn, as often as the bench says, so that what disturbs the machine disturbs all of them. */
export const alternate = async <Side extends string, Measured>(
  { runs, progress }: Pick<Bench, 'runs' | 'progress'>,
  sides: Record<Side, () => Promise<Measured>>,
  show: (measured: Measured) => string = (measured) => format(Number(measured)),
): Promise<Record<Side, Measured[]>> => {
  const names = Object.keys(sides) as Side[]
  const measured = Object.fromEntries(names.map((name) => [name, [] as Measured[]])) as Record<Side, Measured[]>
  for (let round = 1; round <= runs; round += 1) {
    const shown: string[] = []
    for (const name of names) {
      const result = await sides[name]()
      measured[name].push(result)
      shown.push(`${name} ${show(result)}`)
    }
    progress(`  run ${round} of ${runs}: ${shown.join(', ')}`)
  }
  return measured
}

export const format = (value: number): string =>
  value >= 1_000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3).replace(/\.0+$/, '')
