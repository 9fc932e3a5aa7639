/** What a process is connected with by a gate that can be stalled and cut. */
export const links = ['postgres', 'redis', 'provider'] as const

export type Link = (typeof links)[number]

export type Strike =
  | { kind: 'app-kill' | 'app-freeze'; app: number }
  | { kind: 'app-clock'; app: number; offsetSeconds: number }
  | { kind: 'connections-stall'; app: number; link: Link }
  /** `answers`: what was asked arrives and its answer is lost; `all`: nothing arrives, and nobody is let in. */
  | { kind: 'connections-cut'; app: number; link: Link; loses: 'answers' | 'all' }
  | { kind: 'provider-slow'; delayMs: number }
  | { kind: 'postgres-stop' | 'broker-kill' | 'redis-kill' | 'redis-flush' | 'provider-down' }

export type FaultKind = Strike['kind']

/** Times are in milliseconds from the beginning; the fault is taken back after `forMs`. */
export type Fault = Strike & { number: number; atMs: number; forMs: number }

/** Of so many faults of a long run, each kind comes this often; the dear ones, which keep much from happening, less. */
export const shares: Record<FaultKind, number> = {
  'app-kill': 3,
  'app-freeze': 3,
  'app-clock': 2,
  'broker-kill': 1,
  'postgres-stop': 2,
  'redis-kill': 2,
  'redis-flush': 2,
  'provider-down': 2,
  'provider-slow': 2,
  'connections-stall': 3,
  'connections-cut': 3,
}

export const faultKinds = Object.keys(shares) as FaultKind[]

/** Where a fault strikes: no place has two at once. */
export const placeOf = (strike: Strike): string => {
  switch (strike.kind) {
    case 'app-clock':
      return `clock of app-${strike.app}`
    case 'app-kill':
    case 'app-freeze':
    case 'connections-stall':
    case 'connections-cut':
      return `app-${strike.app}`
    case 'redis-kill':
    case 'redis-flush':
      return 'redis'
    case 'provider-down':
    case 'provider-slow':
      return 'provider'
    case 'postgres-stop':
      return 'postgres'
    case 'broker-kill':
      return 'broker'
  }
}

/** The processes that are asked whether they have recovered; undefined for all of them. */
export const appOf = (strike: Strike): number | undefined => ('app' in strike ? strike.app : undefined)

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`

export const describeFault = (fault: Fault): string => {
  const { kind } = fault
  const lasting = kind === 'redis-flush' ? '' : ` for ${seconds(fault.forMs)}`
  switch (kind) {
    case 'app-kill':
    case 'app-freeze':
      return `${kind} app-${fault.app}${lasting}`
    case 'app-clock':
      return `${kind} app-${fault.app} ${fault.offsetSeconds > 0 ? '+' : ''}${fault.offsetSeconds} s${lasting}`
    case 'connections-stall':
      return `${kind} app-${fault.app} and ${fault.link}${lasting}`
    case 'connections-cut':
      return `${kind} app-${fault.app} and ${fault.link}, ${fault.loses} lost,${lasting}`
    case 'provider-slow':
      return `${kind} by ${seconds(fault.delayMs)}${lasting}`
    case 'broker-kill':
    case 'postgres-stop':
    case 'redis-kill':
    case 'redis-flush':
    case 'provider-down':
      return `${kind}${lasting}`
  }
}
