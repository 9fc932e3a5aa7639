import type { Action, Phase, SagaDefinition, SagaState, StepDefinition, StepState } from './definition.ts'

/** The next state and the one thing to do for it. The same state object means that the input was absorbed. */
export type Decision<Data extends object> = { state: SagaState<Data>; action: Action | null }

/** What a transition needs to know besides the state and the input. */
export type On = { definition: SagaDefinition; now: Date }

export const absorb = <Data extends object>(state: SagaState<Data>): Decision<Data> => ({ state, action: null })

export const definitionOf = ({ definition }: On, name: string): StepDefinition => {
  const step = definition.steps.find((step) => step.name === name)
  if (!step) throw new Error(`The saga ${definition.name} has no step ${name} any more.`)
  return step
}

export const put = <Data extends object>(
  { now }: On,
  state: SagaState<Data>,
  name: string,
  change: Partial<StepState>,
): SagaState<Data> => ({
  ...state,
  steps: state.steps.map((step) => {
    if (step.name !== name) return step
    const at = change.status === undefined || change.status === step.status ? step.at : now.toISOString()
    return { ...step, ...change, at }
  }),
})

export const keep = <Data extends object>(state: SagaState<Data>, data: Partial<Data> | undefined): SagaState<Data> =>
  data === undefined ? state : { ...state, data: { ...state.data, ...data } }

export const wait = <Data extends object>(
  { now }: On,
  state: SagaState<Data>,
  step: StepDefinition,
  phase: Phase,
  attempt: number,
  ms: number,
): SagaState<Data> => ({
  ...state,
  timer: { step: step.name, phase, attempt, dueAt: new Date(now.getTime() + ms).toISOString() },
})

/** Doubled with each try up to the limit; it draws no lot, so that a decision can be repeated. */
export const backoff = ({ backoff }: StepDefinition, attempt: number): number =>
  Math.min(backoff.maxMs, backoff.firstMs * 2 ** Math.min(attempt - 1, 30))
