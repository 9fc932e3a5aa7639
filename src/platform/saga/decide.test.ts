import { describe, expect, test } from 'bun:test'
import {
  asking,
  compensated,
  completed,
  definition,
  gaveUp,
  given,
  sealing,
  step,
  stuck,
  telling,
  undoingAsk,
  undoingHold,
  type Known,
} from '../../test/errand.ts'
import { asks, done, failed, now, started, storyOf, timeout, undoFailed, undone } from '../../test/saga-story.ts'
import { decide } from './decide.ts'
import { type Input, type StepDefinition, initialState } from './definition.ts'

describe('forward', () => {
  test('a saga that starts runs its first step', () => {
    expect(given().when(started)).toMatchObject({ status: 'running', does: ['run hold 1'], waits: null })
  })

  test('a step that is done starts the next; a command waits for its answer', () => {
    expect(given(started).when(done('hold'))).toMatchObject({
      does: ['send ask 1'],
      waits: 'step ask 1 in 250 ms',
      steps: { hold: 'done', ask: 'running', tell: 'pending', seal: 'pending' },
    })
  })

  test('the last step completes the saga, which then waits for nothing', () => {
    expect(given(...sealing).when(done('seal'))).toMatchObject({
      status: 'completed',
      error: null,
      does: [],
      waits: null,
      steps: { hold: 'done', ask: 'done', tell: 'done', seal: 'done' },
    })
  })

  test('an answer that completes the saga ends the wait for it', () => {
    const { given } = storyOf({ name: 'question', steps: [{ ...step, name: 'ask', kind: 'command' }] }, {})
    expect(given(started).when(done('ask'))).toMatchObject({ status: 'completed', does: [], waits: null })
  })

  test('what a step learned is added to what the saga knows', () => {
    expect(given(started, done('hold', { held: true })).when(done('ask', { ticket: 'x' })).data).toEqual({
      held: true,
      ticket: 'x',
    })
  })

  test('a saga without steps is completed when it starts', () => {
    const { given } = storyOf({ name: 'nothing', steps: [] }, {})
    expect(given().when(started)).toMatchObject({ status: 'completed', does: [], waits: null })
  })

  test('a saga that started does not start again', () => {
    for (const before of [[started], asking, gaveUp]) expect(given(...before).when(started).absorbed).toBe(true)
  })
})

describe('a refusal', () => {
  test('of the first step ends the saga at once: there is nothing to undo', () => {
    expect(given(started).when(failed('hold', 'none-left'))).toMatchObject({
      status: 'compensated',
      error: 'none-left',
      does: [],
      waits: null,
      steps: { hold: 'failed', ask: 'pending', tell: 'pending', seal: 'pending' },
    })
  })

  test('undoes the finished steps in reverse order, each when the one after it is undone', () => {
    const rollingBack = given(...sealing)
    expect(rollingBack.when(failed('seal', 'torn'))).toMatchObject({
      status: 'compensating',
      does: ['send-undo ask 1'],
    })
    expect(rollingBack.when(failed('seal', 'torn'), undone('ask'), undone('hold'))).toMatchObject({
      status: 'compensated',
      error: 'torn',
      does: ['send-undo ask 1', 'undo hold 1'],
      waits: null,
      steps: { hold: 'compensated', ask: 'compensated', tell: 'compensated', seal: 'failed' },
    })
  })

  test('of a command leaves nothing of that command to undo', () => {
    expect(given(...asking).when(failed('ask', 'declined'))).toMatchObject({
      does: ['undo hold 1'],
      steps: { hold: 'done', ask: 'failed' },
    })
  })

  test('ends the wait for the answer', () => {
    expect(given(...asking).when(failed('ask', 'declined')).waits).toBeNull()
  })

  test('what a compensation learned is added to what the saga knows', () => {
    const rollingBack = given(started, done('hold', { held: true }), failed('ask', 'declined'))
    expect(rollingBack.when(undone('hold', { held: false })).data).toEqual({ held: false })
  })
})

describe('a refusal that may pass', () => {
  test('rests for the back-off, and then the step is tried again under the next number', () => {
    expect(given(...asking).when(failed('ask', 'busy'))).toMatchObject({
      status: 'running',
      does: [],
      waits: 'step ask 1 in 100 ms',
    })
    expect(given(...asking, failed('ask', 'busy')).when(timeout('step', 'ask', 1))).toMatchObject({
      does: ['send ask 2'],
      waits: 'step ask 2 in 250 ms',
    })
  })

  test('rests twice as long after the second try', () => {
    expect(given(...asking, timeout('step', 'ask', 1)).when(failed('ask', 'busy')).waits).toBe('step ask 2 in 200 ms')
  })

  test('never rests longer than the limit of the back-off', () => {
    const patient: StepDefinition = { ...step, name: 'wait', kind: 'command', retries: 5_000, retryOn: ['busy'] }
    const { given } = storyOf({ name: 'patience', steps: [patient] }, {})
    const tries = Array.from({ length: 4_000 }, (_, index) => timeout('step', 'wait', index + 1))
    expect(given(started, ...tries.slice(0, 3)).when(failed('wait', 'busy')).waits).toBe('step wait 4 in 300 ms')
    expect(given(started, ...tries).when(failed('wait', 'busy')).waits).toBe('step wait 4001 in 300 ms')
  })

  test('is counted once, however often it is repeated while the step rests', () => {
    expect(given(...asking, failed('ask', 'busy')).when(failed('ask', 'busy')).absorbed).toBe(true)
  })

  test('does not stand in the way of an answer that comes while the step rests', () => {
    const resting = given(...asking, failed('ask', 'busy'))
    expect(resting.when(done('ask'))).toMatchObject({ does: ['send tell 1'], steps: { ask: 'done' } })
    expect(resting.when(failed('ask', 'declined'))).toMatchObject({ error: 'declined', does: ['undo hold 1'] })
  })

  test('of the last try of a command leaves its effect unknown: it is undone', () => {
    const lastTry = given(...asking, timeout('step', 'ask', 1), timeout('step', 'ask', 2))
    expect(lastTry.when(failed('ask', 'busy'))).toMatchObject({
      status: 'compensating',
      error: 'busy',
      does: ['send-undo ask 1'],
      steps: { ask: 'unknown' },
    })
  })

  test('of a local step is tried again, and after the last try nothing of the step is there to undo', () => {
    const resting = given(...sealing, failed('seal', 'locked'))
    expect(resting.when(timeout('step', 'seal', 1))).toMatchObject({ does: ['run seal 2'], waits: null })
    expect(resting.when(timeout('step', 'seal', 1), failed('seal', 'locked'))).toMatchObject({
      error: 'locked',
      does: ['run seal 2', 'send-undo ask 1'],
      steps: { seal: 'failed' },
    })
  })
})

describe('a command that is not answered in time', () => {
  test('is sent again under the next number, and waits anew', () => {
    expect(given(...asking).when(timeout('step', 'ask', 1))).toMatchObject({
      status: 'running',
      does: ['send ask 2'],
      waits: 'step ask 2 in 250 ms',
    })
  })

  test('counts whichever answer comes, also one to an earlier try', () => {
    expect(given(...asking, timeout('step', 'ask', 1)).when(done('ask'))).toMatchObject({ does: ['send tell 1'] })
  })

  test('is given up after the last try and undone, since nobody knows whether it happened', () => {
    expect(given(...gaveUp.slice(0, -1)).when(timeout('step', 'ask', 3))).toMatchObject({
      status: 'compensating',
      error: 'timeout',
      does: ['send-undo ask 1'],
      waits: 'undo ask 1 in 250 ms',
      steps: { hold: 'done', ask: 'unknown' },
    })
  })

  test('is given up without a word when it has no compensation', () => {
    expect(given(...telling).when(timeout('step', 'tell', 1))).toMatchObject({
      error: 'timeout',
      does: ['send-undo ask 1'],
      steps: { tell: 'compensated' },
    })
  })
})

describe('a timeout of the past is absorbed', () => {
  const past: [string, Input<Known>[], Input<Known>][] = [
    ['of a try before this one', [...asking, timeout('step', 'ask', 1)], timeout('step', 'ask', 1)],
    ['of a try that has not been', asking, timeout('step', 'ask', 2)],
    ['of a step that has been answered', telling, timeout('step', 'ask', 1)],
    ['of the step when it is being undone', gaveUp, timeout('step', 'ask', 1)],
    ['of a compensation before it began', asking, timeout('undo', 'ask', 1)],
    ['of a compensation that has been answered', undoingHold, timeout('undo', 'ask', 1)],
    ['of a compensation when an operator is asked', stuck, timeout('undo', 'ask', 3)],
    ['of a step that there is not', asking, timeout('step', 'dance', 1)],
    ['when the saga is completed', completed, timeout('step', 'tell', 1)],
    ['when the saga is compensated', compensated, timeout('undo', 'ask', 1)],
  ]
  for (const [which, before, late] of past) {
    test(which, () => expect(given(...before).when(late).absorbed).toBe(true))
  }
})

describe('a late answer', () => {
  test('that the command was done, after it was given up, is remembered while it is being undone', () => {
    expect(given(...gaveUp).when(done('ask', { ticket: 'late' }))).toMatchObject({
      status: 'compensating',
      does: [],
      waits: 'undo ask 1 in 250 ms',
      steps: { ask: 'done' },
      data: { ticket: 'late' },
    })
    expect(given(...gaveUp, done('ask')).when(undone('ask'))).toMatchObject({ does: ['undo hold 1'] })
  })

  test('that the command was declined, after it was given up, makes its compensation needless', () => {
    expect(given(...gaveUp).when(failed('ask', 'declined'))).toMatchObject({
      status: 'compensating',
      error: 'timeout',
      does: ['undo hold 1'],
      waits: null,
      steps: { hold: 'done', ask: 'failed' },
    })
  })

  test('with a refusal that may pass decides nothing about a command that was given up', () => {
    expect(given(...gaveUp).when(failed('ask', 'busy')).absorbed).toBe(true)
  })

  test('with a refusal does not stop the compensation of what is known to be done', () => {
    expect(given(...undoingAsk).when(failed('ask', 'declined')).absorbed).toBe(true)
    expect(given(...gaveUp, done('ask')).when(failed('ask', 'declined')).absorbed).toBe(true)
  })

  test('that the command was done, after it was undone, changes nothing', () => {
    expect(given(...gaveUp, undone('ask')).when(done('ask')).absorbed).toBe(true)
  })

  test('frees a saga that waits for an operator', () => {
    for (const answer of [undone('ask'), failed('ask', 'declined')]) {
      expect(given(...stuck).when(answer)).toMatchObject({ status: 'compensating', does: ['undo hold 1'] })
    }
  })

  test('that the command was done does not free a saga that waits for an operator', () => {
    expect(given(...stuck).when(done('ask'))).toMatchObject({
      status: 'needs-operator',
      does: [],
      waits: null,
      steps: { ask: 'done' },
    })
  })

  test('changes nothing in a saga that has ended', () => {
    const answers = [done('ask'), failed('ask', 'declined'), undone('ask'), undone('hold'), undoFailed('ask', 'broken')]
    for (const ended of [completed, compensated]) {
      for (const answer of answers) expect(given(...ended).when(answer).absorbed).toBe(true)
    }
  })

  test('about a step that there is not changes nothing', () => {
    for (const before of [asking, gaveUp]) expect(given(...before).when(done('dance')).absorbed).toBe(true)
  })

  test('about a step that was not reached changes nothing', () => {
    for (const answer of [done('tell'), failed('tell', 'deaf'), undone('tell'), undoFailed('tell', 'deaf')]) {
      for (const before of [asking, gaveUp]) expect(given(...before).when(answer).absorbed).toBe(true)
    }
  })
})

describe('a duplicate is absorbed', () => {
  const twice: [string, Input<Known>[], Input<Known>][] = [
    ['of an answer that a command was done', asking, done('ask')],
    ['of the answer that completed the saga', sealing, done('seal')],
    ['of a refusal', telling, failed('tell', 'deaf')],
    ['of a refusal that may pass', asking, failed('ask', 'busy')],
    ['of a timeout', asking, timeout('step', 'ask', 1)],
    ['of the last timeout', gaveUp.slice(0, -1), timeout('step', 'ask', 3)],
    ['of a late answer that it was done', gaveUp, done('ask')],
    ['of a late refusal', gaveUp, failed('ask', 'declined')],
    ['of an answer that it was undone', undoingAsk, undone('ask')],
    ['of the answer that ended the compensation', undoingHold, undone('hold')],
    ['of a compensation that failed', undoingAsk, undoFailed('ask', 'broken')],
    ['of the word that somebody else undid a step', asking, undone('hold')],
    ['of an order to roll back', asking, asks('compensate')],
    ['of an order to skip', [...stuck], asks('skip')],
  ]
  for (const [which, before, input] of twice) {
    test(which, () => {
      expect(given(...before).when(input).absorbed).toBe(false)
      expect(given(...before, input).when(input).absorbed).toBe(true)
    })
  }
})

test('what a saga absorbs leaves the very state that it had', () => {
  const state = initialState(definition, {})
  expect(decide(definition, state, done('dance'), now)).toEqual({ state, action: null })
  expect(decide(definition, state, done('dance'), now).state).toBe(state)
})

test('a step notes when its status changed, and only then', () => {
  const later = new Date(now.getTime() + 1_000)
  const { state } = given().when(...asking)
  const resent = decide(definition, state, timeout('step', 'ask', 1), later).state
  expect(resent.steps[1]).toMatchObject({ status: 'running', attempt: 2, at: now.toISOString() })
  expect(decide(definition, resent, done('ask'), later).state.steps[1]).toMatchObject({ at: later.toISOString() })
})

test('a saga says so when its definition has lost the step that it has reached', () => {
  const { state } = given().when(started)
  expect(() => decide({ name: 'errand', steps: [] }, state, done('hold'), now)).toThrow('has no step ask any more')
})
