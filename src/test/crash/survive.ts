import { expect } from 'bun:test'
import type { Step } from '#platform/durable'
import { eventually } from '../eventually.ts'
import { patienceMs } from '../shop.ts'
import type { Story } from './stories.ts'
import { createTeller } from './teller.ts'
import type { Point } from './victim.ts'
import type { World } from './world.ts'

const begin = async (world: World, story: Story, sku: string) => {
  const given = { buyer: await world.shop.newBuyer(), sku }
  const prepared = (await story.prepare?.(world, given)) ?? given
  await world.rest()
  return prepared
}

/** What comes by itself is waited for so long. */
const wholeRoundMs = 1_000

/** Tells a story in which nobody dies; answers with how often each step is passed, in their order. */
export const rehearse = async (world: World, story: Story, sku: string): Promise<Map<Step, number>> => {
  const given = await begin(world, story, sku)
  const victim = world.victim()
  const before = victim.passed.length
  await story.tell(createTeller(world), given)
  await eventually(async () => expect((await victim.report()).idleMs).toBeGreaterThan(wholeRoundMs), patienceMs)
  const passed = new Map<Step, number>()
  for (const step of victim.passed.slice(before)) passed.set(step, (passed.get(step) ?? 0) + 1)
  return passed
}

/**
 * Tells a story while the process is killed at the point and another is started, until all is at rest; then everything that
 * was asked is asked again. @throws when the process did not come to the point
 */
export const survive = async (world: World, story: Story, sku: string, point: Point): Promise<void> => {
  const given = await begin(world, story, sku)
  const dying = world.victim()
  await dying.arm(point)
  let died = false
  const replaced = dying.child.exited.then(() => {
    died = true
    return world.next(point)
  })
  // It is awaited below; until then nobody listens.
  replaced.catch(() => undefined)
  const teller = createTeller(world)
  try {
    await story.tell(teller, given)
    await eventually(() => expect({ died }).toEqual({ died: true }), 10_000)
  } finally {
    // When this fails, whatever comes next has a process that is not armed.
    dying.child.kill('SIGKILL')
    await replaced
  }
  await world.rest()
  await teller.repeat()
}
