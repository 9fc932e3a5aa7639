import { createApp, withAllModules } from '../../src/app.ts'
import { type Environment, parseConfig } from '../../src/config.ts'
import { type Examined, examine } from '../invariants/examine.ts'
import { endings } from '../invariants/endings.ts'
import type { Sources } from '../invariants/invariant.ts'
import { readWaiting } from '../invariants/waiting.ts'
import { messageOf } from '#platform/errors'
import { createLog } from '#platform/log'
import { sleep } from '#platform/retry'

export type Healed = { examined: Examined[]; failure: string | undefined; tookMs: number; heals: boolean }

/** Gives the modules to look at, wired past the gates and neither serving nor consuming. */
export const withSources = async <T>(environment: Environment, look: (sources: Sources) => Promise<T>): Promise<T> => {
  const config = parseConfig({ ...environment, DATABASE_POOL_SIZE: '2' })
  const app = createApp(config, createLog({ level: 'fatal', readable: true }))
  try {
    await app.connected()
    return await look(withAllModules(app))
  } finally {
    await app.stop()
  }
}

/** Whether everything seems to have come to its end: what costs little to ask, before all that is checked. */
const isQuiet = async (sources: Sources): Promise<boolean> => {
  const waiting = await readWaiting(sources)
  for await (const { waits } of endings.check(sources, waiting)) if (!waits) return false
  for (const { run } of Object.values(sources.databases)) {
    const left = await run('select 1 from outbox limit 1')
    if (left.length > 0) return false
  }
  return true
}

const holds = (examined: Examined[]): boolean => examined.every(({ broken }) => broken.count === 0)

export type Patience = { begunAt: number; limitMs: number; signal: AbortSignal }

/** Waits until the invariants hold, at most so long after the beginning; answers with what was found last. */
export const awaitHealing = async (sources: Sources, { begunAt, limitMs, signal }: Patience): Promise<Healed> => {
  const since = () => performance.now() - begunAt
  let examined: Examined[] = []
  let failure: string | undefined
  for (let last = false; ;) {
    signal.throwIfAborted()
    const askedAfterMs = since()
    last = askedAfterMs > limitMs
    try {
      failure = undefined
      if (last || (await isQuiet(sources))) {
        examined = await examine(sources)
        if (holds(examined)) return { examined, failure, tookMs: askedAfterMs, heals: true }
      }
    } catch (error) {
      failure = `the invariants could not be checked: ${messageOf(error)}`
    }
    if (last) return { examined, failure, tookMs: askedAfterMs, heals: false }
    await sleep(500, signal)
  }
}
