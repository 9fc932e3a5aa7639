import { decide } from '../platform/saga/decide.ts'
import {
  type Input,
  type Operation,
  type Phase,
  type SagaDefinition,
  type SagaState,
  type StepState,
  initialState,
} from '../platform/saga/definition.ts'

/** What a saga did about what it heard, and what it has come to; in words that a test can compare. */
export type Told<Data extends object> = {
  status: SagaState['status']
  /** The code of the error that began the compensation. */
  error: string | null
  /** Everything it asked for, such as `send charge 2`. */
  does: string[]
  /** What it wakes up for, such as `undo charge 1 in 500 ms`. */
  waits: string | null
  /** The status of each step, or `unknown` when its effect may be there. */
  steps: Record<string, string>
  data: Data
  /** Nothing of what it heard changed anything. */
  absorbed: boolean
  state: SagaState<Data>
}

/** The one moment at which stories happen. */
export const now = new Date('2026-01-31T12:00:00Z')

/**
 * Tells stories of one saga: `given` what it heard before, `when` it hears this. Each input finds the state as a row holds it,
 * read back from JSON, and frozen, so that a decision which changes what it was given throws.
 */
export const storyOf = <Data extends object>(definition: SagaDefinition, data: Data) => {
  const hear = (before: SagaState<Data>, inputs: Input<Data>[]) => {
    const does: string[] = []
    let [state, absorbed] = [before, true]
    for (const input of inputs) {
      const read = frozen(JSON.parse(JSON.stringify(state)) as SagaState<Data>)
      const decision = decide(definition, read, frozen(input), now)
      if (decision.action) does.push(`${decision.action.do} ${decision.action.step} ${decision.action.attempt}`)
      if (decision.state !== read) absorbed = false
      state = decision.state
    }
    return { state, does, absorbed }
  }
  return {
    given: (...before: Input<Data>[]) => {
      const { state } = hear(initialState(definition, data), before)
      return { when: (...inputs: Input<Data>[]): Told<Data> => told(hear(state, inputs)) }
    },
  }
}

const told = <Data extends object>(heard: Pick<Told<Data>, 'state' | 'does' | 'absorbed'>): Told<Data> => {
  const { status, error, timer, steps, data } = heard.state
  const dueIn = timer && new Date(timer.dueAt).getTime() - now.getTime()
  return {
    ...heard,
    status,
    error: error?.code ?? null,
    waits: timer && `${timer.phase} ${timer.step} ${timer.attempt} in ${dueIn} ms`,
    steps: Object.fromEntries(steps.map((step) => [step.name, inWord(step)])),
    data,
  }
}

const inWord = ({ status, unknown }: StepState): string => (unknown ? 'unknown' : status)

const frozen = <Value>(value: Value): Value => {
  if (typeof value === 'object' && value !== null) {
    for (const part of Object.values(value)) frozen(part)
    Object.freeze(value)
  }
  return value
}

const failure = (code: string) => ({ code, message: `It failed with ${code}.` })

export const started = { type: 'started' } as const

export const done = <Data extends object>(step: string, data?: Partial<Data>): Input<Data> => ({
  type: 'outcome',
  step,
  outcome: { is: 'done', data },
})

export const failed = (step: string, code: string) =>
  ({ type: 'outcome', step, outcome: { is: 'failed', error: failure(code) } }) as const

export const undone = <Data extends object>(step: string, data?: Partial<Data>): Input<Data> => ({
  type: 'outcome',
  step,
  outcome: { is: 'undone', data },
})

export const undoFailed = (step: string, code: string) =>
  ({ type: 'outcome', step, outcome: { is: 'undo-failed', error: failure(code) } }) as const

export const timeout = (phase: Phase, step: string, attempt: number) =>
  ({ type: 'timeout', step, phase, attempt }) as const

/** An operator asks. */
export const asks = (operation: Operation) => ({ type: operation, by: 'grace' }) as const
