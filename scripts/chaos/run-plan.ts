import { orderSnapshot } from '#modules/orders'
import { messageOf } from '#platform/errors'
import { sleep } from '#platform/retry'
import type { App } from './apps.ts'
import { type World, placeOrder } from './commands.ts'
import { type Fault, appOf, describeFault } from './fault.ts'
import { inflict } from './inflict.ts'
import type { Customer } from './record.ts'
import type { Stage } from './stage.ts'
import type { Timeline } from './timeline.ts'

export type Recovery = { fault: Fault; tookMs: number }

type Wait = { why: string; readyMs: number }

export type PlanRun = {
  apps: App[]
  stage: Stage
  timeline: Timeline
  world: World
  /** Buys to find out whether the system works again. */
  prober: Customer
  /** Ends the faults at once. */
  signal: AbortSignal
  /** Until when recoveries are waited for. */
  gaveUp: AbortSignal
}

const inSeconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`

/**
 * Resolves when the processes that a fault has struck are ready, and an order that is placed then has ended; with what was
 * waited for last.
 */
const recovered = async ({ apps, world, prober, gaveUp }: PlanRun, fault: Fault, wait: Wait): Promise<boolean> => {
  const app = appOf(fault)
  for (const each of app === undefined ? apps : apps.slice(app, app + 1)) {
    for (let why = await each.notReady(); why !== undefined && !gaveUp.aborted; why = await each.notReady()) {
      wait.readyMs = performance.now()
      wait.why = why
      await sleep(100, gaveUp)
    }
  }
  const id = await placeOrder(world, prober)
  if (id === undefined) return false
  while (!gaveUp.aborted) {
    const answer = await world.door.ask({ method: 'GET', path: `/orders/${id}`, token: prober.token })
    const order = orderSnapshot.safeParse(answer?.body).data
    if (order && order.status !== 'pending') return true
    await sleep(100, gaveUp)
  }
  return false
}

/** Makes the faults of a plan happen, each when it is due, and takes them back. The recoveries go on after that. */
export const runPlan = async (run: PlanRun, plan: Fault[]) => {
  const { timeline, signal, world } = run
  const recoveries: Recovery[] = []
  const recovering: Promise<void>[] = []
  const struck: Fault[] = []

  const recover = async (fault: Fault) => {
    const endedAt = performance.now()
    const wait: Wait = { why: '', readyMs: endedAt }
    if (!(await recovered(run, fault, wait))) return
    const tookMs = performance.now() - endedAt
    recoveries.push({ fault, tookMs })
    const ready = wait.why && `; ready after ${inSeconds(wait.readyMs - endedAt)}: ${wait.why}`
    timeline.note(`#${fault.number} ${fault.kind} recovered from ${inSeconds(tookMs)} after its end${ready}`)
  }

  const strike = async (fault: Fault) => {
    await sleep(Math.max(0, fault.atMs - timeline.sinceMs()), signal)
    if (signal.aborted) return
    try {
      timeline.note(`#${fault.number} ${describeFault(fault)}`)
      const takeBack = await inflict(run, fault)
      struck.push(fault)
      await sleep(Math.max(0, fault.atMs + fault.forMs - timeline.sinceMs()), signal)
      await takeBack()
      timeline.note(`#${fault.number} ${fault.kind} is over`)
      recovering.push(recover(fault))
    } catch (error) {
      if (!signal.aborted) world.record.breach(`the fault #${fault.number} went wrong: ${messageOf(error)}`)
    }
  }
  await Promise.all(plan.map(strike))
  return { struck, recoveries, recovered: Promise.all(recovering) }
}
