import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Step } from '#platform/durable'
import { beginningsAndEnds } from './crash/beginnings-and-ends.ts'
import { oddStories } from './crash/odd-stories.ts'
import { type Story, stories } from './crash/stories.ts'
import { rehearse, survive } from './crash/survive.ts'
import type { Point } from './crash/victim.ts'
import { type World, openWorld } from './crash/world.ts'

setDefaultTimeout(900_000)

/** Every durable step that there is; a name that is new does not compile here until it is told how it is reached. */
const steps = Object.keys({
  'transaction.commit': true,
  'answer.keep': true,
  'relay.claim': true,
  'relay.send': true,
  'relay.delete': true,
  'relay.release': true,
  'consumer.join': true,
  'consumer.take': true,
  'consumer.begin': true,
  'consumer.leave': true,
  'consumer.commit': true,
  'consumer.park': true,
  'consumer.offsets': true,
  'held.commit': true,
  'held.park': true,
  'held.resolve': true,
  'timer.claim': true,
  'timer.commit': true,
  'timer.postpone': true,
  'call.send': true,
  'call.commit': true,
  'retention.commit': true,
  'redis.snapshots': true,
  'redis.lists': true,
  'redis.flags': true,
  'redis.set': true,
  'redis.extend': true,
  'redis.mark': true,
  'redis.count': true,
  'redis.delete': true,
} satisfies Record<Step, true>)

type Trial = { group: string; name: string; run: () => Promise<void>; outcome: PromiseWithResolvers<void> }

const trialOf = (group: string, name: string, run: () => Promise<void>): Trial => {
  const outcome = Promise.withResolvers<void>()
  // Its test may not listen yet when it fails.
  outcome.promise.catch(() => undefined)
  return { group, name, run, outcome }
}

const both = ['before', 'after'] as const

const nameOf = ({ step, when, nth }: Point) => `${when} ${step}${nth ? `, the ${nth}nd time` : ''}`

const examined = (group: string, world: World) =>
  trialOf(group, 'and every invariant holds', async () => expect(await world.breaches()).toEqual([]))

/** What many things pass comes often, and is killed at its second time as well as at its first. */
const oftenPassed = 4

const plan = async (world: World, sku: string, story: Story): Promise<Trial[]> => {
  const passed = await rehearse(world, story, sku)
  const trials = [...passed].flatMap(([step, times]) =>
    both.map((when) => {
      const often = when === 'after' && times >= oftenPassed && step !== 'relay.claim' && step !== 'timer.claim'
      const point: Point = { step, when, ...(often ? { nth: 2 } : {}) }
      return trialOf(story.name, `is killed ${nameOf(point)}`, () => survive(world, story, sku, point))
    }),
  )
  return [...trials, examined(story.name, world)]
}

const planOthers = (world: World, sku: string): Trial[] => [
  ...oddStories.flatMap((story) =>
    story.at.flatMap((step) =>
      both.map((when) =>
        trialOf(story.name, `is killed ${nameOf({ step, when })}`, () => survive(world, story, sku, { step, when })),
      ),
    ),
  ),
  ...beginningsAndEnds.flatMap(({ name, at, run }) =>
    at.flatMap((step) =>
      both.map((when) => trialOf(name, `is killed ${nameOf({ step, when })}`, () => run(world, { step, when }, sku))),
    ),
  ),
  examined('all of it', world),
]

// Three worlds side by side: while one waits for the broker to give a dead member up, the others work.
const lanes = await Promise.all(
  [stories.slice(0, 3), stories.slice(3, 6), stories.slice(6)].map(async (own, index) => {
    const world = await openWorld(`crash-${index}`)
    const { sku } = await world.shop.newProduct(999)
    const trials: Trial[] = []
    for (const story of own) trials.push(...(await plan(world, sku, story)))
    if (index === 2) trials.push(...planOthers(world, sku))
    return { world, trials }
  }),
)

const running = lanes.map(async ({ trials }) => {
  for (const { run, outcome } of trials) await run().then(outcome.resolve, outcome.reject)
})

afterAll(async () => {
  await Promise.all(running)
  await Promise.all(lanes.map(({ world }) => world.close()))
})

const all = lanes.flatMap(({ trials }) => trials)

for (const group of new Set(all.map((trial) => trial.group)))
  describe(group, () => {
    for (const { name, outcome } of all.filter((trial) => trial.group === group)) test(name, () => outcome.promise)
  })

test('every durable step is come to by some of these', async () => {
  await Promise.all(running)
  const reached = new Set<string>(lanes.flatMap(({ world }) => [...world.reached, ...world.victim().passed]))
  expect(steps.filter((step) => !reached.has(step))).toEqual([])
})
