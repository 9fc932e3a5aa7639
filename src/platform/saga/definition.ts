import type { Backoff } from '../retry.ts'

/** Why something did not happen; `code` is kebab-case and public, `message` one sentence that a client may read. */
export type Failure = { code: string; message: string }

/** A step as data. `retries` and `undoRetries` count the tries after the first. */
export type StepDefinition = {
  name: string
  /** `local`: done in the transaction of the transition. `command`: a message, answered by a reply. */
  kind: 'local' | 'command'
  compensation: 'none' | 'local' | 'command'
  /** How long the answer to a command may take before the command is sent again. */
  timeoutMs: number
  retries: number
  /** The codes of refusals that may pass: they are tried again after the back-off and decide nothing. */
  retryOn: string[]
  undoRetries: number
  backoff: Backoff
}

/** The steps run in this order and are undone in the opposite one. Their names are unique. */
export type SagaDefinition = { name: string; steps: StepDefinition[] }

export type SagaStatus = 'running' | 'completed' | 'compensating' | 'compensated' | 'needs-operator'
export type StepStatus = 'pending' | 'running' | 'done' | 'failed' | 'compensated'

export type StepState = {
  name: string
  status: StepStatus
  /** When the status changed last. */
  at: string | null
  error: Failure | null
  /** How often the step was tried; it numbers the tries. */
  attempt: number
  /** The command was sent and nobody knows whether its effect is there: it is undone as if it were. */
  unknown: boolean
  /** The tries to undo the step; `limit` is the number of the last one before an operator is asked. */
  undo: { attempt: number; limit: number; error: Failure | null } | null
}

/** `step`: a step is under way or rests before its next try. `undo`: the same of its compensation. */
export type Phase = 'step' | 'undo'

/** What a saga wakes up for unless it hears something before. At most one at a time. */
export type Waiting = { step: string; phase: Phase; attempt: number; dueAt: string }

export type SagaState<Data extends object = object> = {
  status: SagaStatus
  /** The error that began the compensation, kept to the end. */
  error: Failure | null
  data: Data
  steps: StepState[]
  timer: Waiting | null
}

/**
 * What became of a step or of its compensation. A participant answers every delivery of a command with the one outcome
 * that it has on record: `failed`, unless its code is in `retryOn`, means that the effect is not there and never will be,
 * whichever delivery comes late; `undone` means the same of an effect that was there, or was never to come. Its `error` is what
 * the saga then ends with, when nobody had asked for it.
 */
export type Outcome<Data extends object = object> =
  | { is: 'done'; data?: Partial<Data> | undefined }
  | { is: 'failed'; error: Failure }
  | { is: 'undone'; data?: Partial<Data> | undefined; error?: Failure }
  | { is: 'undo-failed'; error: Failure }

export type Operation = 'retry' | 'skip' | 'compensate'

export type Input<Data extends object = object> =
  | { type: 'started' }
  | { type: 'outcome'; step: string; outcome: Outcome<Data> }
  | { type: 'timeout'; step: string; phase: Phase; attempt: number }
  | { type: Operation; by: string }

/** What a transition asks for; at most one thing. A local action comes back as an outcome in the same transaction. */
export type Action =
  | { do: 'run'; step: string; attempt: number }
  | { do: 'send'; step: string; attempt: number }
  | { do: 'undo'; step: string; attempt: number }
  | { do: 'send-undo'; step: string; attempt: number }

export const ended = (status: SagaStatus): boolean => status === 'completed' || status === 'compensated'

export const initialState = <Data extends object>(definition: SagaDefinition, data: Data): SagaState<Data> => ({
  status: 'running',
  error: null,
  data,
  steps: definition.steps.map(({ name }) => ({
    name,
    status: 'pending',
    at: null,
    error: null,
    attempt: 0,
    unknown: false,
    undo: null,
  })),
  timer: null,
})
