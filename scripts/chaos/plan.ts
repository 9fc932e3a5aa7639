import { type Fault, type FaultKind, type Strike, links, placeOf, shares } from './fault.ts'
import { type Random, createRandom } from './random.ts'

export type PlanOptions = { seed: number; seconds: number; apps: number; kinds: readonly FaultKind[] }

/** From how long to how long a fault lasts, and for how long its place is left alone afterwards; milliseconds. */
const lasting: Record<FaultKind, { from: number; to: number; rest: number }> = {
  'app-kill': { from: 100, to: 3_000, rest: 3_000 },
  // Both sides of the lease of a relay (5 s), the session of a consumer (6 s) and the claim of a call (12 s).
  'app-freeze': { from: 500, to: 14_000, rest: 2_000 },
  'app-clock': { from: 5_000, to: 20_000, rest: 2_000 },
  // Its start, and the return of its consumers, take a while.
  'broker-kill': { from: 200, to: 5_000, rest: 20_000 },
  'postgres-stop': { from: 100, to: 4_000, rest: 6_000 },
  'redis-kill': { from: 100, to: 4_000, rest: 3_000 },
  'redis-flush': { from: 0, to: 1, rest: 2_000 },
  'provider-down': { from: 500, to: 6_000, rest: 2_000 },
  'provider-slow': { from: 2_000, to: 10_000, rest: 2_000 },
  'connections-stall': { from: 500, to: 8_000, rest: 2_000 },
  'connections-cut': { from: 100, to: 5_000, rest: 2_000 },
}

const strikeOf = (kind: FaultKind, app: number, random: Random): Strike => {
  switch (kind) {
    case 'app-kill':
    case 'app-freeze':
      return { kind, app }
    case 'app-clock':
      return { kind, app, offsetSeconds: random.between(120, 900) * (random.percent(50) ? 1 : -1) }
    case 'connections-stall':
      return { kind, app, link: random.pick(links) }
    case 'connections-cut':
      return { kind, app, link: random.pick(links), loses: random.percent(50) ? 'answers' : 'all' }
    case 'provider-slow':
      return { kind, delayMs: random.between(500, 7_000) }
    case 'broker-kill':
    case 'postgres-stop':
    case 'redis-kill':
    case 'redis-flush':
    case 'provider-down':
      return { kind }
  }
}

/** The shared services of which at most two are away at once. */
const shared = ['postgres', 'broker', 'redis']

/** What is struck or rests, each place until a time. */
type Busy = Map<string, number>

const isFree = (busy: Busy, place: string, atMs: number): boolean => (busy.get(place) ?? 0) <= atMs

/** A place is free, and if it fell too, something would still be left to work with. */
const mayStrike = (busy: Busy, place: string, atMs: number, apps: number): boolean => {
  if (!isFree(busy, place, atMs)) return false
  if (place.startsWith('app-')) {
    const struck = Array.from({ length: apps }, (_, app) => `app-${app}`).filter((app) => !isFree(busy, app, atMs))
    return struck.length < apps - 1
  }
  return !shared.includes(place) || shared.filter((service) => !isFree(busy, service, atMs)).length < 2
}

/** The whole run, as the seed and its length decide it: at first one fault of each kind, then by their shares. */
export const planFaults = ({ seed, seconds, apps, kinds }: PlanOptions): Fault[] => {
  const random = createRandom(seed)
  const endMs = seconds * 1_000
  const busy: Busy = new Map()
  const faults: Fault[] = []
  let bag = random.shuffle(kinds)

  /** The first kind of the bag that may strike somewhere now. */
  const draw = (atMs: number): Strike | undefined => {
    for (const [index, kind] of bag.entries()) {
      for (const app of random.shuffle(Array.from({ length: apps }, (_, each) => each))) {
        const strike = strikeOf(kind, app, random)
        if (!mayStrike(busy, placeOf(strike), atMs, apps)) continue
        bag.splice(index, 1)
        return strike
      }
    }
    return undefined
  }

  for (let atMs = random.between(500, 2_000); atMs < endMs - 1_000; atMs += random.between(1_500, 5_000)) {
    if (bag.length === 0) bag = random.shuffle(kinds.flatMap((kind) => Array<FaultKind>(shares[kind]).fill(kind)))
    const strike = draw(atMs)
    if (!strike) continue
    const { from, to, rest } = lasting[strike.kind]
    const forMs = Math.min(random.between(from, to), endMs - atMs)
    busy.set(placeOf(strike), atMs + forMs + rest)
    faults.push({ ...strike, number: faults.length + 1, atMs, forMs })
  }
  return faults
}
