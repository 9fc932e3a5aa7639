import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import * as fc from 'fast-check'
import {
  type Decide,
  type Move,
  type Trouble,
  checkAtRest,
  checkoutWith,
  simulate,
} from '../../test/simulated-checkout.ts'
import { decide } from './decide.ts'
import type { SagaState, StepState } from './definition.ts'

setDefaultTimeout(60_000)

const seed = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
// What a run found can be repeated with it.
console.log(`FC_SEED=${seed}`)

const runs = { numRuns: 10_000, seed, includeErrorInReport: true }

/** True about once in `times`. */
const oneIn = (times: number) => fc.nat(times - 1).map((drawn) => drawn === 0)

const what = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.constantFrom('payments hears', 'payments answers', 'the provider charges', 'the provider refunds'),
  },
  { weight: 2, arbitrary: fc.constant('a timer fires') },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'the provider declines',
      'the order is cancelled',
      'support refunds',
      'retry',
      'skip',
      'compensate',
    ),
  },
) satisfies fc.Arbitrary<Move['what']>

const move = fc.record({
  what,
  pick: fc.nat(9),
  kept: fc.boolean(),
  crash: oneIn(10),
  trouble: fc.constantFrom(null, null, null, 'busy', 'refused'),
})

const story = fc.record({
  tries: fc.record({ retries: fc.nat(2), undoRetries: fc.nat(2) }),
  /** The step that has all the trouble, up to the end or until an operator has seen to it. */
  weak: fc.constantFrom('reserve-stock', 'create-order', 'charge-payment', 'confirm-order'),
  broken: oneIn(3),
  moves: fc.array(move, { maxLength: 100, size: 'max' }),
})

/** Whatever happens to a checkout, it comes to an end that is true; one that waits for an operator does when he retries. */
const stories = (decide: Decide, ended: (how: SagaState['status']) => void = () => undefined) =>
  fc.property(story, ({ tries, weak, broken, moves }) => {
    const { open, move, settle } = simulate(decide, checkoutWith(tries))
    const trouble = (code: 'busy' | 'refused' | null): Trouble => code && { step: weak, code }
    const met = moves.map((each): Move => ({ ...each, trouble: trouble(each.trouble) }))
    const shop = settle(met.reduce(move, open(met[0]?.trouble ?? null)), trouble(broken ? 'busy' : null))
    checkAtRest(shop)
    ended(shop.saga.status)
    if (shop.saga.status !== 'needs-operator') return
    const helped = settle(move(shop, { what: 'retry', pick: 0, kept: false, crash: false, trouble: null }), null)
    checkAtRest(helped)
    if (helped.saga.status !== 'compensated') throw new Error('It must never happen that no operator can help.')
  })

test('however replies, timeouts, repeats, crashes and operators mix, a checkout ends as what it did says', () => {
  const ends = new Map<string, number>()
  fc.assert(
    stories(decide, (how) => ends.set(how, (ends.get(how) ?? 0) + 1)),
    runs,
  )
  // The stories are worth something only when they reach all three ends.
  for (const how of ['completed', 'compensated', 'needs-operator']) expect(ends.get(how)).toBeGreaterThan(100)
})

const changed = <State extends SagaState>(state: State, name: string, change: Partial<StepState>): State => ({
  ...state,
  steps: state.steps.map((step) => (step.name === name ? { ...step, ...change } : step)),
})

const reversed = <State extends SagaState>(state: State): State => ({ ...state, steps: state.steps.toReversed() })

const refused = { code: 'refused', message: 'It was refused.' }

const planted: Record<string, Decide> = {
  'a charge of unknown outcome is not undone': (definition, state, input, now) => {
    const right = decide(definition, state, input, now)
    if (!right.state.steps.some(({ unknown }) => unknown)) return right
    const known = { type: 'outcome', step: 'charge-payment', outcome: { is: 'failed', error: refused } } as const
    return decide(definition, state, known, now)
  },
  'a capture that comes late is taken for a refusal': (definition, state, input, now) => {
    const late = input.type === 'outcome' && input.outcome.is === 'done' && state.status !== 'running'
    return decide(definition, state, late ? { ...input, outcome: { is: 'failed', error: refused } } : input, now)
  },
  'a duplicate that a step is done is applied twice': (definition, state, input, now) => {
    const done = input.type === 'outcome' && input.outcome.is === 'done' && state.status === 'running'
    return decide(definition, done ? changed(state, input.step, { status: 'running' }) : state, input, now)
  },
  'the compensations run in the order of the steps': (definition, state, input, now) => {
    const right = decide(definition, state, input, now)
    if (right.state === state || right.state.status === 'running' || right.state.status === 'completed') return right
    const wrong = decide(definition, reversed(state), input, now)
    return { ...wrong, state: reversed(wrong.state) }
  },
  'a compensation that succeeded is tried again': (definition, state, input, now) => {
    const undone = input.type === 'outcome' && input.outcome.is === 'undone' && state.status === 'compensating'
    return decide(definition, state, undone ? { ...input, outcome: { is: 'undo-failed', error: refused } } : input, now)
  },
  'a refusal that may pass is taken for the last word': (definition, state, input, now) => {
    const steps = definition.steps.map((step) => ({ ...step, retryOn: [] }))
    return decide({ ...definition, steps }, state, input, now)
  },
  'a timer of the past is obeyed': (definition, state, input, now) =>
    decide(definition, state, input.type === 'timeout' && state.timer ? { ...input, ...state.timer } : input, now),
  'nobody is asked when the last try of a compensation has failed': (definition, state, input, now) => {
    const right = decide(definition, state, input, now)
    const { status } = right.state
    return status === 'needs-operator' ? { ...right, state: { ...right.state, status: 'compensating' } } : right
  },
  'the last error is kept instead of the first': (definition, state, input, now) => {
    const right = decide(definition, state, input, now)
    if (right.state === state || input.type !== 'outcome' || input.outcome.is !== 'undo-failed') return right
    return { ...right, state: { ...right.state, error: input.outcome.error } }
  },
  'a completed checkout can still be undone': (definition, state, input, now) =>
    decide(definition, state.status === 'completed' ? { ...state, status: 'running' } : state, input, now),
}

describe('these stories find a planted bug', () => {
  for (const [bug, withBug] of Object.entries(planted)) {
    test(bug, () => {
      const found = fc.check(stories(withBug), { ...runs, endOnFailure: true })
      expect(String(found.errorInstance)).toStartWith('Error: It must never happen that ')
    })
  }
})
