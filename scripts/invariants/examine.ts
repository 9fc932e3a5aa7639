import { endings } from './endings.ts'
import type { Finding, Invariant, Sources } from './invariant.ts'
import { messages } from './messages.ts'
import { money } from './money.ts'
import { snapshots } from './snapshots.ts'
import { stock } from './stock.ts'
import { listed, readWaiting } from './waiting.ts'

/** What holds at rest, whatever crashed on the way; in the order in which patterns.md has them. */
export const invariants: Invariant[] = [stock, money, endings, snapshots, listed, messages]

/** At most a hundred lines of each kind, and how many there are. */
type Told = { lines: string[]; count: number }

/** `waiting` is what is counted apart, since an operator has been told. */
export type Examined = { number: number; name: string; broken: Told; waiting: Told }

const most = 100

/** Checks every invariant. @throws UnavailableError, or what a driver throws, when a service is away */
export const examine = async (sources: Sources): Promise<Examined[]> => {
  const waiting = await readWaiting(sources)
  const examined: Examined[] = []
  for (const [index, { name, check }] of invariants.entries()) {
    const found = await collect(check(sources, waiting))
    examined.push({ number: index + 1, name, broken: found(false), waiting: found(true) })
  }
  return examined
}

const collect = async (findings: AsyncGenerator<Finding>) => {
  const told = new Map([true, false].map((waits): [boolean, Told] => [waits, { lines: [], count: 0 }]))
  for await (const { line, waits } of findings) {
    const kind = told.get(waits)
    if (!kind) continue
    kind.count += 1
    if (kind.lines.length < most) kind.lines.push(line)
  }
  return (waits: boolean): Told => told.get(waits) ?? { lines: [], count: 0 }
}

const listOf = ({ lines, count }: Told, prefix: string): string[] => [
  ...lines.map((line) => `         ${prefix}${line}`),
  ...(count > lines.length ? [`         ${prefix}and ${count - lines.length} more`] : []),
]

/** The lines that say how it stands with an invariant. */
export const report = ({ number, name, broken, waiting }: Examined): string[] => [
  `${broken.count === 0 ? 'holds ' : 'BROKEN'} ${number}. ${name}`,
  ...listOf(broken, ''),
  ...listOf(waiting, 'waits for an operator: '),
]
