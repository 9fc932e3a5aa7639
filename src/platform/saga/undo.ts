import type { Failure, Outcome, SagaState, StepState } from './definition.ts'
import { type Decision, type On, absorb, backoff, definitionOf, keep, put, wait } from './state.ts'

/** The step that is being undone, or has to be next: the last whose effect is, or may be, there. */
export const nextToUndo = (state: SagaState): StepState | undefined => state.steps.findLast(needsUndo)

export const needsUndo = ({ status, unknown }: StepState): boolean =>
  status === 'done' || (status === 'failed' && unknown)

export const heardUndoing = <Data extends object>(
  on: On,
  state: SagaState<Data>,
  held: StepState,
  outcome: Outcome<Data>,
): Decision<Data> => {
  if (!needsUndo(held)) return absorb(state)
  const current = nextToUndo(state)?.name === held.name
  const settled = (next: SagaState<Data>) => (current ? undoNext(on, next) : absorb(next))
  switch (outcome.is) {
    case 'done':
      if (!held.unknown) return absorb(state)
      return absorb(keep(put(on, state, held.name, { status: 'done', unknown: false }), outcome.data))
    case 'failed':
      if (!held.unknown || definitionOf(on, held.name).retryOn.includes(outcome.error.code)) return absorb(state)
      return settled(put(on, state, held.name, { unknown: false }))
    case 'undone':
      return settled(keep(put(on, state, held.name, { status: 'compensated', unknown: false }), outcome.data))
    case 'undo-failed':
      if (!held.undo || held.undo.error) return absorb(state)
      return undoFailed(on, state, held, outcome.error)
  }
}

export const rollBack = <Data extends object>(on: On, state: SagaState<Data>, error: Failure): Decision<Data> =>
  undoNext(on, { ...state, error })

/** Starts to undo the last step that needs it; without one the saga is compensated. */
const undoNext = <Data extends object>(on: On, before: SagaState<Data>): Decision<Data> => {
  const state: SagaState<Data> = { ...before, status: 'compensating', timer: null }
  const held = nextToUndo(state)
  if (!held) return { state: { ...state, status: 'compensated' }, action: null }
  return attemptUndo(on, state, held, 1, 1 + definitionOf(on, held.name).undoRetries)
}

export const attemptUndo = <Data extends object>(
  on: On,
  state: SagaState<Data>,
  held: StepState,
  attempt: number,
  limit: number,
): Decision<Data> => {
  const step = definitionOf(on, held.name)
  const undoing = put(on, state, held.name, { undo: { attempt, limit, error: null } })
  switch (step.compensation) {
    case 'none':
      return undoNext(on, put(on, state, held.name, { status: 'compensated', unknown: false }))
    case 'local':
      return { state: { ...undoing, timer: null }, action: { do: 'undo', step: step.name, attempt } }
    case 'command': {
      const timeoutMs = Math.max(step.timeoutMs, backoff(step, attempt))
      return {
        state: wait(on, undoing, step, 'undo', attempt, timeoutMs),
        action: { do: 'send-undo', step: step.name, attempt },
      }
    }
  }
}

const undoFailed = <Data extends object>(
  on: On,
  state: SagaState<Data>,
  held: StepState,
  error: Failure,
): Decision<Data> => {
  const { attempt, limit } = held.undo ?? { attempt: 0, limit: 0 }
  if (attempt >= limit) return stuck(on, state, held, error)
  const step = definitionOf(on, held.name)
  const resting = put(on, state, held.name, { undo: { attempt, limit, error } })
  return { state: wait(on, resting, step, 'undo', attempt, backoff(step, attempt)), action: null }
}

export const stuck = <Data extends object>(
  on: On,
  state: SagaState<Data>,
  held: StepState,
  error: Failure,
): Decision<Data> => {
  const undo = held.undo && { ...held.undo, error }
  return absorb({ ...put(on, state, held.name, { undo }), status: 'needs-operator', timer: null })
}

/** Tries the compensation again at once, and as often as the first time. */
export const retry = <Data extends object>(on: On, state: SagaState<Data>): Decision<Data> => {
  const held = nextToUndo(state)
  if (!held?.undo) return absorb(state)
  const attempt = held.undo.attempt + 1
  const { undoRetries } = definitionOf(on, held.name)
  return attemptUndo(on, { ...state, status: 'compensating' }, held, attempt, attempt + undoRetries)
}

/** Takes the operator's word that the step which is stuck has been undone. */
export const skip = <Data extends object>(on: On, state: SagaState<Data>): Decision<Data> => {
  const held = nextToUndo(state)
  if (state.status !== 'needs-operator' || !held) return absorb(state)
  return undoNext(on, put(on, state, held.name, { status: 'compensated', unknown: false }))
}
