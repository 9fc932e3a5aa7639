import { describe, expect, test } from 'bun:test'
import {
  asking,
  compensated,
  completed,
  gaveUp,
  given,
  sealing,
  stuck,
  undoingAsk,
  undoingHold,
  type Known,
} from '../../test/errand.ts'
import { asks, done, failed, timeout, undoFailed, undone } from '../../test/saga-story.ts'
import type { Input, Operation } from './definition.ts'

describe('a step that somebody else undid', () => {
  test('while a command is under way, rolls back; the command first, as it may have happened', () => {
    expect(given(...asking).when(undone('hold', { held: false }))).toMatchObject({
      status: 'compensating',
      error: 'undone-elsewhere',
      does: ['send-undo ask 1'],
      steps: { hold: 'compensated', ask: 'unknown' },
      data: { held: false },
    })
  })

  test('by whoever says why, ends with that error', () => {
    const said: Input<Known> = {
      type: 'outcome',
      step: 'hold',
      outcome: { is: 'undone', error: { code: 'called-off', message: 'It was called off.' } },
    }
    expect(given(...asking).when(said)).toMatchObject({ status: 'compensating', error: 'called-off' })
  })

  test('is not undone again', () => {
    expect(given(...asking, undone('hold')).when(undone('ask'))).toMatchObject({ status: 'compensated', does: [] })
    expect(given(...undoingAsk, undone('hold')).when(undone('ask'))).toMatchObject({ status: 'compensated', does: [] })
  })

  test('while a later one is being undone, leaves that compensation alone', () => {
    expect(given(...undoingAsk).when(undone('hold'))).toMatchObject({
      status: 'compensating',
      does: [],
      waits: 'undo ask 1 in 250 ms',
    })
  })

  test('while its own compensation rests, lets the next begin', () => {
    const resting = given(...undoingHold, undoFailed('hold', 'fault'))
    expect(resting.when(undone('hold'))).toMatchObject({ status: 'compensated', does: [], waits: null })
  })

  test('when it is the command under way, is not waited for any longer', () => {
    expect(given(...asking).when(undone('ask'))).toMatchObject({
      error: 'undone-elsewhere',
      does: ['undo hold 1'],
      waits: null,
      steps: { ask: 'compensated' },
    })
  })

  test('while a local step rests, leaves nothing of that step to undo', () => {
    expect(given(...sealing, failed('seal', 'locked')).when(undone('ask'))).toMatchObject({
      error: 'undone-elsewhere',
      does: ['undo hold 1'],
      steps: { ask: 'compensated', seal: 'failed' },
    })
  })
})

describe('a compensation', () => {
  test('that fails rests for the back-off, and is tried again under the next number', () => {
    expect(given(...undoingHold).when(undoFailed('hold', 'fault'))).toMatchObject({
      status: 'compensating',
      does: [],
      waits: 'undo hold 1 in 100 ms',
    })
    expect(given(...undoingHold, undoFailed('hold', 'fault')).when(timeout('undo', 'hold', 1))).toMatchObject({
      does: ['undo hold 2'],
      waits: null,
    })
  })

  test('that is not answered is sent again, each time after a longer wait when the back-off is the longer one', () => {
    expect(given(...gaveUp).when(timeout('undo', 'ask', 1))).toMatchObject({
      does: ['send-undo ask 2'],
      waits: 'undo ask 2 in 250 ms',
    })
    expect(given(...gaveUp, timeout('undo', 'ask', 1)).when(timeout('undo', 'ask', 2))).toMatchObject({
      does: ['send-undo ask 3'],
      waits: 'undo ask 3 in 300 ms',
    })
  })

  test('that succeeded leaves nothing unknown, and the next begins', () => {
    expect(given(...gaveUp).when(undone('ask'))).toMatchObject({
      does: ['undo hold 1'],
      waits: null,
      steps: { hold: 'done', ask: 'compensated' },
    })
  })

  test('that failed may still turn out to have succeeded', () => {
    const resting = given(...undoingAsk, undoFailed('ask', 'broken'))
    expect(resting.when(undone('ask'))).toMatchObject({ status: 'compensating', does: ['undo hold 1'], waits: null })
  })

  test('that is not answered after the last try waits for an operator, and for nothing else', () => {
    expect(given(...stuck.slice(0, -1)).when(timeout('undo', 'ask', 3))).toMatchObject({
      status: 'needs-operator',
      does: [],
      waits: null,
      steps: { hold: 'done', ask: 'unknown' },
    })
  })

  test('whose last try fails waits for an operator, with the reason', () => {
    const tries = [1, 2].flatMap((attempt) => [undoFailed('hold', 'fault'), timeout('undo', 'hold', attempt)])
    const { state, ...told } = given(...undoingHold, ...tries).when(undoFailed('hold', 'worse'))
    expect(told).toMatchObject({ status: 'needs-operator', does: [], waits: null })
    expect(state.steps[0]?.undo).toMatchObject({ attempt: 3, error: { code: 'worse' } })
  })

  test('that was not asked for cannot fail', () => {
    for (const before of [asking, gaveUp]) {
      expect(given(...before).when(undoFailed('hold', 'fault')).absorbed).toBe(true)
    }
  })

  test('that is not there is passed over', () => {
    expect(given(...sealing).when(failed('seal', 'torn'))).toMatchObject({
      does: ['send-undo ask 1'],
      steps: { tell: 'compensated' },
    })
  })
})

describe('an operator', () => {
  test('who retries gets the compensation tried at once, and as often as the first time', () => {
    const retried = given(...stuck).when(asks('retry'))
    expect(retried).toMatchObject({ status: 'compensating', does: ['send-undo ask 4'], waits: 'undo ask 4 in 300 ms' })
    const again = [4, 5].map((attempt) => timeout('undo', 'ask', attempt))
    expect(given(...stuck, asks('retry')).when(...again)).toMatchObject({
      status: 'compensating',
      does: ['send-undo ask 5', 'send-undo ask 6'],
    })
    expect(given(...stuck, asks('retry'), ...again).when(timeout('undo', 'ask', 6)).status).toBe('needs-operator')
  })

  test('may retry while the compensation rests', () => {
    expect(given(...undoingHold, undoFailed('hold', 'fault')).when(asks('retry'))).toMatchObject({
      does: ['undo hold 2'],
      waits: null,
    })
  })

  test('who skips is believed that the step is undone; the next is undone then', () => {
    expect(given(...stuck).when(asks('skip'))).toMatchObject({
      status: 'compensating',
      does: ['undo hold 1'],
      steps: { hold: 'done', ask: 'compensated' },
    })
  })

  test('who skips the last ends the saga', () => {
    const tries = [1, 2].flatMap((attempt) => [undoFailed('hold', 'fault'), timeout('undo', 'hold', attempt)])
    const stuckWithHold = [...undoingHold, ...tries, undoFailed('hold', 'fault')]
    expect(given(...stuckWithHold).when(asks('skip'))).toMatchObject({ status: 'compensated', does: [], waits: null })
  })

  test('is not contradicted by a late answer about a step that was skipped', () => {
    for (const answer of [done('ask'), failed('ask', 'declined'), undone('ask')]) {
      expect(given(...stuck, asks('skip')).when(answer).absorbed).toBe(true)
    }
  })

  test('who rolls back a saga that is running has the command under way undone first', () => {
    expect(given(...asking).when(asks('compensate'))).toMatchObject({
      status: 'compensating',
      error: 'stopped-by-operator',
      does: ['send-undo ask 1'],
      waits: 'undo ask 1 in 250 ms',
      steps: { ask: 'unknown' },
    })
  })

  test('who rolls back while a local step rests has the steps before it undone', () => {
    expect(given(...sealing, failed('seal', 'locked')).when(asks('compensate'))).toMatchObject({
      error: 'stopped-by-operator',
      does: ['send-undo ask 1'],
      steps: { seal: 'failed' },
    })
  })

  test('changes nothing with what the saga does not allow', () => {
    const forbidden: [Input<Known>[], Operation[]][] = [
      [asking, ['retry', 'skip']],
      [gaveUp, ['skip', 'compensate']],
      [stuck, ['compensate']],
      [completed, ['retry', 'skip', 'compensate']],
      [compensated, ['retry', 'skip', 'compensate']],
    ]
    for (const [before, operations] of forbidden) {
      for (const operation of operations) expect(given(...before).when(asks(operation)).absorbed).toBe(true)
    }
  })
})

test('the error that began the compensation is kept, whatever goes wrong after it', () => {
  const after = [
    failed('ask', 'declined'),
    undoFailed('hold', 'fault'),
    timeout('undo', 'hold', 1),
    undone('hold'),
    timeout('undo', 'hold', 2),
  ]
  for (let count = 0; count <= after.length; count += 1) {
    expect(given(...gaveUp).when(...after.slice(0, count)).error).toBe('timeout')
  }
  expect(given(...stuck).when(asks('skip'), undone('hold'))).toMatchObject({ status: 'compensated', error: 'timeout' })
})
