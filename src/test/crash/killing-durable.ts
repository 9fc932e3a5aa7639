import type { Step, durable as bare } from '#platform/durable'

/** Where a process dies: the first time that it comes there, or the `nth`. */
export type Point = { step: Step; when: 'before' | 'after'; nth?: number }

/** What a test says to the process; each is answered by a `Report`. */
export type Order = { arm: Point } | { report: true }

/** Which steps were passed since the process started, in their order, and for how long nothing has been under way. */
export type Report = { passed: Step[]; idleMs: number }

// What comes by itself, whether there is anything to do or not.
const periodic = new Set<Step>(['relay.claim', 'timer.claim'])

const passed: Step[] = []
let underWay = 0
let idleSince = performance.now()
let armed: Point | undefined = process.env['DIE_AT'] ? (JSON.parse(process.env['DIE_AT']) as Point) : undefined

let met = 0

const dieIf = (step: Step, when: Point['when']) => {
  if (armed?.step !== step || armed.when !== when) return
  met += 1
  if (met === (armed.nth ?? 1)) process.kill(process.pid, 'SIGKILL')
}

/** Stands in for the module of the same name in a process that a test kills. */
export const durable: typeof bare = async (step, perform) => {
  const counts = !periodic.has(step)
  passed.push(step)
  dieIf(step, 'before')
  if (counts) underWay += 1
  try {
    const result = await perform()
    dieIf(step, 'after')
    return result
  } finally {
    if (counts) underWay -= 1
    if (counts) idleSince = performance.now()
  }
}

process.on('message', (order: Order) => {
  if ('arm' in order) armed = order.arm
  const report: Report = { passed: passed.splice(0), idleMs: underWay > 0 ? 0 : performance.now() - idleSince }
  process.send?.(report)
})
