import { type Input, type Outcome, type Phase, type SagaDefinition, type SagaState, ended } from './definition.ts'
import { abandon, attemptStep, forward, heardRunning } from './forward.ts'
import { type Decision, type On, absorb, definitionOf, put } from './state.ts'
import { attemptUndo, heardUndoing, retry, rollBack, skip, stuck } from './undo.ts'

/**
 * One transition of a saga, without I/O. Steps run in order; a step that fails, or whose tries are used up, rolls back
 * those that are done and those whose outcome is unknown, in reverse order. Compensations are tried until they succeed,
 * after the last try an operator is asked. Duplicates, late replies, stale timeouts and whatever reaches a saga that has
 * ended are absorbed.
 */
export const decide = <Data extends object>(
  definition: SagaDefinition,
  state: SagaState<Data>,
  input: Input<Data>,
  now: Date,
): Decision<Data> => {
  if (ended(state.status)) return absorb(state)
  const on = { definition, now }
  switch (input.type) {
    case 'started':
      return state.steps.every(({ status }) => status === 'pending') ? forward(on, state) : absorb(state)
    case 'outcome':
      return heard(on, state, input.step, input.outcome)
    case 'timeout':
      return timedOut(on, state, input)
    case 'retry':
      return retry(on, state)
    case 'skip':
      return skip(on, state)
    case 'compensate':
      return state.status === 'running' ? abandon(on, state) : absorb(state)
  }
}

const heard = <Data extends object>(
  on: On,
  state: SagaState<Data>,
  name: string,
  outcome: Outcome<Data>,
): Decision<Data> => {
  const held = state.steps.find((step) => step.name === name)
  if (!held) return absorb(state)
  return state.status === 'running' ? heardRunning(on, state, held, outcome) : heardUndoing(on, state, held, outcome)
}

const timedOut = <Data extends object>(
  on: On,
  state: SagaState<Data>,
  { step: name, phase, attempt }: { step: string; phase: Phase; attempt: number },
): Decision<Data> => {
  const { timer } = state
  const held = state.steps.find((step) => step.name === name)
  if (!held || timer?.step !== name || timer.phase !== phase || timer.attempt !== attempt) return absorb(state)
  const step = definitionOf(on, name)
  const error = { code: 'timeout', message: `The step ${name} was not answered in time.` }
  switch (phase) {
    case 'step':
      if (attempt <= step.retries) return attemptStep(on, state, step, attempt + 1)
      return rollBack(on, put(on, state, name, { status: 'failed', error, unknown: step.kind === 'command' }), error)
    case 'undo':
      if (held.undo && attempt < held.undo.limit) return attemptUndo(on, state, held, attempt + 1, held.undo.limit)
      return stuck(on, state, held, error)
  }
}
