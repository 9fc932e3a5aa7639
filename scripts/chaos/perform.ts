import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { sleep } from '#platform/retry'
import { parseMigrateConfig } from '../../src/config.ts'
import { migrate } from '../migrate.ts'
import { interrupted } from '../services/failure.ts'
import { bulkheadFolder } from '../services/paths.ts'
import type { Progress } from '../services/service.ts'
import { type App, createApps } from './apps.ts'
import { findClock } from './clock.ts'
import { createDoor } from './door.ts'
import { type FaultKind, faultKinds } from './fault.ts'
import { awaitHealing, withSources } from './heal.ts'
import { keepBusy } from './load.ts'
import { planFaults } from './plan.ts'
import { createRandom } from './random.ts'
import type { Outcome } from './report.ts'
import { runPlan } from './run-plan.ts'
import { setUp } from './set-up.ts'
import { type Stage, openStage } from './stage.ts'
import { createTimeline } from './timeline.ts'
import { verify } from './verify/index.ts'

export type RunOptions = {
  seconds: number
  seed: number
  commandsPerSecond: number
  /** Kinds of faults that are left out: of all of them, to see what the machine can do. */
  without: readonly FaultKind[]
  progress: Progress
  signal: AbortSignal
}

/** Logs and the timeline of the last run are kept here. */
export const resultsFolder = join(bulkheadFolder, 'chaos')

const processes = 3
const workers = 48
const readsPerSecond = 25
const healWithinMs = 60_000
const verifyWithinMs = 300_000

/** What this machine cannot do. */
export const unavailableKinds = (): FaultKind[] => (findClock() ? [] : ['app-clock'])

const until = async (holds: () => Promise<boolean>, limitMs: number, what: string): Promise<void> => {
  const deadline = performance.now() + limitMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what} within ${limitMs / 1_000} s; see ${resultsFolder}`)
    await sleep(100)
  }
}

/** Takes back whatever is left of any fault. */
const restore = async (apps: App[], stage: Stage): Promise<void> => {
  for (const { gates, clock, signal } of apps) {
    for (const gate of Object.values(gates)) gate.open()
    gates.provider.slow(0)
    clock?.turn(0)
    signal('SIGCONT')
  }
  await stage.startMissing()
}

/** Runs the load and the faults on these processes, lets them heal, and looks at what has become of it. */
const perform = async (apps: App[], stage: Stage, crashes: string[], options: RunOptions): Promise<Outcome> => {
  const { seconds, seed, commandsPerSecond, without, progress, signal } = options
  const environment = stage.environment()
  const urls = apps.map(({ url }) => url)
  const unavailable = unavailableKinds()
  const kinds = faultKinds.filter((kind) => !unavailable.includes(kind) && !without.includes(kind))
  const plan = planFaults({ seed, seconds, apps: apps.length, kinds })
  const random = createRandom(seed + 1)
  progress('signing customers up')
  const from = new Date()
  const { world: before, prober } = await setUp(urls, environment, random, signal)

  const gaveUp = new AbortController()
  const giveUp = AbortSignal.any([gaveUp.signal, signal])
  const world = { ...before, door: createDoor(urls, giveUp) }
  const timeline = createTimeline(join(resultsFolder, 'timeline.log'))
  timeline.note(`seed ${seed}, ${seconds} s, ${plan.length} faults, ${commandsPerSecond} commands a second`)
  const over = new AbortController()
  const ending = AbortSignal.any([over.signal, signal])
  timeline.begin()
  const tell = setInterval(() => {
    const { answered, unanswered } = world.door.figures
    timeline.note(`${answered} answered, ${world.seen.reads()} reads, ${unanswered} never answered`)
  }, 10_000)
  try {
    const load = keepBusy(world, { perSecond: commandsPerSecond, workers, signal: ending })
    const reading = world.seen.keepReading(world.door, readsPerSecond, ending)
    const run = { apps, stage, timeline, world, prober, signal, gaveUp: giveUp }
    const [{ struck, recoveries, recovered }] = await Promise.all([runPlan(run, plan), sleep(seconds * 1_000, signal)])
    signal.throwIfAborted()
    await restore(apps, stage)
    over.abort()
    timeline.note('everything is let heal')
    const begunAt = performance.now()
    const limit = setTimeout(() => gaveUp.abort(), healWithinMs)
    await Promise.all([load, reading, recovered])
    const commandsMs = timeline.sinceMs()
    clearTimeout(limit)
    const healed = await withSources(environment, (sources) =>
      awaitHealing(sources, { begunAt, limitMs: healWithinMs, signal }),
    )
    timeline.note(healed.heals ? 'it has healed' : 'it has not healed')
    const door = createDoor(urls, AbortSignal.any([AbortSignal.timeout(verifyWithinMs), signal]))
    door.figures.unanswered = world.door.figures.unanswered
    await verify({ ...world, door }, environment['PAYMENT_PROVIDER_URL'] ?? '', from)
    for (const crash of crashes) world.record.breach(crash)
    const starts = apps.reduce((sum, app) => sum + app.starts(), 0)
    const { record, seen } = world
    return {
      seed,
      seconds,
      commandsMs,
      unavailable,
      without,
      struck,
      recoveries,
      healed,
      record,
      figures: world.door.figures,
      reads: seen.reads(),
      starts,
      timeline: timeline.lines,
    }
  } finally {
    clearInterval(tell)
    over.abort()
    gaveUp.abort()
  }
}

/** One run on services and processes of its own, which are gone afterwards, whatever happens. */
export const runChaos = async (options: RunOptions): Promise<Outcome> => {
  const { progress, signal } = options
  mkdirSync(resultsFolder, { recursive: true })
  const stage = await openStage({ profile: 'chaos-services', progress, signal })
  const crashes: string[] = []
  let apps: App[] = []
  try {
    await stage.startAll()
    await migrate(parseMigrateConfig(stage.environment()), () => undefined)
    const onCrash = (what: string) => void crashes.push(what)
    apps = await createApps({ count: processes, stage, folder: resultsFolder, clock: findClock(), onCrash })
    for (const app of apps) app.start()
    for (const app of apps)
      await until(async () => (await app.notReady()) === undefined, 60_000, `${app.name} was not ready`)
    return await perform(apps, stage, crashes, options)
  } catch (error) {
    throw signal.aborted ? interrupted() : error
  } finally {
    await Promise.all(apps.map((app) => app.end()))
    for (const { gates } of apps) for (const gate of Object.values(gates)) gate.end()
    stage.keepLogs(resultsFolder)
    await stage.remove()
  }
}
