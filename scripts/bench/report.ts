import type { machine } from './environment.ts'
import { type Row, format, isReached, median, ratioOf } from './scenario.ts'

export type Results = {
  startedAt: Date
  quick: boolean
  machine: Awaited<ReturnType<typeof machine>>
  rows: Row[]
  /** Scenarios that could not be measured, a line each. */
  failures: string[]
}

const spread = (values: number[]) =>
  values.length > 1 ? ` (${format(Math.min(...values))} to ${format(Math.max(...values))})` : ''

const cells = (row: Row): string[] => {
  const { target } = row
  const reached = isReached(row)
  return [
    row.scenario,
    row.unit,
    `${format(median(row.figures))}${spread(row.figures)}`,
    `${format(median(row.limits))}${spread(row.limits)}`,
    ratioOf(row).toFixed(2),
    target ? ('atLeast' in target ? `>= ${target.atLeast}` : `<= ${target.atMost}`) : '',
    reached === undefined ? '' : reached ? 'ok' : 'short',
  ]
}

const heading = ['scenario', 'unit', 'figure (min to max)', 'limit (min to max)', 'ratio', 'to reach', '']

/** Prints the rows as a table, and below it what each figure and its limit are. */
export const printTable = ({ rows, failures, quick, machine }: Results): void => {
  const table = [heading, ...rows.map(cells)]
  const widths = heading.map((_, column) => Math.max(...table.map((line) => line[column]?.length ?? 0)))
  const runs = Math.max(...rows.map(({ figures }) => figures.length))
  console.log(`\n${machine.cpu}, ${machine.cores} cores, Bun ${machine.bun}, ${machine.commit.slice(0, 12)}`)
  console.log(
    quick
      ? 'QUICK: short runs that show that it works, not how fast it is.\n'
      : `Medians of ${runs} alternating runs.\n`,
  )
  for (const line of table)
    console.log(
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
  console.log()
  for (const { scenario, figure, limit } of rows) console.log(`${scenario}: ${figure}; limit: ${limit}`)
  for (const failure of failures) console.log(`NOT MEASURED: ${failure}`)
}

export const toJson = ({ rows, ...results }: Results): string => {
  const measured = rows.map((row) => ({
    ...row,
    median: { figure: median(row.figures), limit: median(row.limits) },
    ratio: ratioOf(row),
    reached: isReached(row),
  }))
  return `${JSON.stringify({ ...results, rows: measured }, null, 2)}\n`
}
