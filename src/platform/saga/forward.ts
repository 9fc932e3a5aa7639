import type { Failure, Outcome, SagaState, StepDefinition, StepState } from './definition.ts'
import { type Decision, type On, absorb, backoff, definitionOf, keep, put, wait } from './state.ts'
import { rollBack } from './undo.ts'

/** Starts the first step that is pending; without one the saga is completed. */
export const forward = <Data extends object>(on: On, state: SagaState<Data>): Decision<Data> => {
  const next = state.steps.find(({ status }) => status === 'pending')
  if (!next) return { state: { ...state, status: 'completed', timer: null }, action: null }
  return attemptStep(on, state, definitionOf(on, next.name), 1)
}

export const attemptStep = <Data extends object>(
  on: On,
  state: SagaState<Data>,
  step: StepDefinition,
  attempt: number,
): Decision<Data> => {
  const running = put(on, state, step.name, { status: 'running', attempt, error: null })
  switch (step.kind) {
    case 'local':
      return { state: { ...running, timer: null }, action: { do: 'run', step: step.name, attempt } }
    case 'command':
      return {
        state: wait(on, running, step, 'step', attempt, step.timeoutMs),
        action: { do: 'send', step: step.name, attempt },
      }
  }
}

export const heardRunning = <Data extends object>(
  on: On,
  state: SagaState<Data>,
  held: StepState,
  outcome: Outcome<Data>,
): Decision<Data> => {
  const running = held.status === 'running'
  switch (outcome.is) {
    case 'done':
      return running
        ? forward(on, keep(put(on, state, held.name, { status: 'done', error: null }), outcome.data))
        : absorb(state)
    case 'failed':
      return running ? stepFailed(on, state, held, outcome.error) : absorb(state)
    case 'undone':
      return running || held.status === 'done' ? lost(on, state, held, outcome) : absorb(state)
    case 'undo-failed':
      return absorb(state)
  }
}

/** A refusal that may pass rests until its next try; any other ends the way forward. */
const stepFailed = <Data extends object>(
  on: On,
  state: SagaState<Data>,
  held: StepState,
  error: Failure,
): Decision<Data> => {
  const step = definitionOf(on, held.name)
  const passing = step.retryOn.includes(error.code)
  if (passing && held.error) return absorb(state)
  if (passing && held.attempt <= step.retries) {
    const resting = put(on, state, held.name, { error })
    return { state: wait(on, resting, step, 'step', held.attempt, backoff(step, held.attempt)), action: null }
  }
  const unknown = passing && step.kind === 'command'
  return rollBack(on, put(on, state, held.name, { status: 'failed', error, unknown }), error)
}

/** The effect of a step was taken back by somebody else while the saga was still on its way. */
const lost = <Data extends object>(
  on: On,
  state: SagaState<Data>,
  held: StepState,
  { data, error: given }: Extract<Outcome<Data>, { is: 'undone' }>,
): Decision<Data> => {
  const error = given ?? { code: 'undone-elsewhere', message: `The step ${held.name} was undone before the end.` }
  return giveUp(on, keep(put(on, state, held.name, { status: 'compensated', error }), data), error)
}

/** Gives the way forward up at an operator's wish. */
export const abandon = <Data extends object>(on: On, state: SagaState<Data>): Decision<Data> =>
  giveUp(on, state, { code: 'stopped-by-operator', message: 'An operator asked to roll back.' })

/** Rolls back; the command that is under way may have happened. */
const giveUp = <Data extends object>(on: On, state: SagaState<Data>, error: Failure): Decision<Data> => {
  const held = state.steps.find(({ status }) => status === 'running')
  if (!held) return rollBack(on, state, error)
  const unknown = definitionOf(on, held.name).kind === 'command'
  return rollBack(on, put(on, state, held.name, { status: 'failed', error, unknown }), error)
}
