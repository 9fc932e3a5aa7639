import { median } from '../bench/scenario.ts'
import { report as reportInvariant } from '../invariants/examine.ts'
import { type Fault, type FaultKind, faultKinds } from './fault.ts'
import type { Healed } from './heal.ts'
import type { Record } from './record.ts'
import type { Door } from './door.ts'
import type { Recovery } from './run-plan.ts'

export type Outcome = {
  seed: number
  seconds: number
  commandsMs: number
  unavailable: FaultKind[]
  without: readonly FaultKind[]
  struck: Fault[]
  recoveries: Recovery[]
  healed: Healed
  record: Record
  figures: Door['figures']
  reads: number
  starts: number
  timeline: string[]
}

const inSeconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`

const faultLines = ({ struck, recoveries, unavailable }: Outcome): string[] =>
  faultKinds.map((kind) => {
    if (unavailable.includes(kind)) return `  ${kind.padEnd(18)} unavailable`
    const count = struck.filter((fault) => fault.kind === kind).length
    const took = recoveries.filter(({ fault }) => fault.kind === kind).map(({ tookMs }) => tookMs)
    const times =
      took.length === 0
        ? ''
        : `, recovered ${took.length}: median ${inSeconds(median(took))}, longest ${inSeconds(Math.max(...took))}`
    return `  ${kind.padEnd(18)} ${String(count).padStart(4)}${times}`
  })

const commandLines = ({ record, figures, commandsMs, reads }: Outcome): string[] => {
  const kinds = [...record.counts].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => `${name} ${count}`)
  const faults = [...figures.faults].toSorted(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${count}`)
  return [
    `commands answered: ${figures.answered}, ${(figures.answered / (commandsMs / 1_000)).toFixed(0)} a second; never answered: ${figures.unanswered}`,
    `  ${kinds.join(', ')}`,
    `  sent again: ${figures.retries}; answered with a fault: ${faults.slice(0, 12).join(', ') || 'none'}`,
    `reads: ${reads}`,
  ]
}

/** The figures of a run, and its breaches with what is needed to see them again. */
export const reportLines = (outcome: Outcome): string[] => {
  const { seed, seconds, struck, recoveries, healed, record, timeline, starts, without } = outcome
  const stall = record.longestStall()
  const broken = breachesOf(outcome)
  return [
    `seed ${seed}, ${seconds} s`,
    ...commandLines(outcome),
    `faults: ${struck.length}, recovered from: ${recoveries.length}`,
    ...faultLines(outcome),
    `longest stall: ${inSeconds(stall.ms)}; processes were started ${starts} times`,
    healed.heals ? `healed ${inSeconds(healed.tookMs)} after the last fault` : 'NOT healed in time',
    ...healed.examined.flatMap(reportInvariant),
    ...(broken.length === 0
      ? ['every answered command is there, and every invariant holds']
      : [
          '',
          `${broken.length} breaches; again: bun run chaos --seconds ${seconds} --seed ${seed}${without.length > 0 ? ` --without ${without.join(',')}` : ''}`,
          ...broken.slice(0, 100).map((line) => `  BREACH ${line}`),
          'the timeline:',
          ...timeline.map((line) => `  ${line}`),
        ]),
  ]
}

export const breachesOf = ({ record, healed }: Pick<Outcome, 'record' | 'healed'>): string[] => [
  ...record.breaches,
  ...(healed.failure === undefined ? [] : [healed.failure]),
  ...healed.examined.flatMap(({ number, broken }) =>
    broken.count > 0 ? [`invariant ${number}: ${broken.count} findings`] : [],
  ),
]
