import { DomainError } from '../errors.ts'
import type { Trace } from '../messaging/message.ts'
import type { Keep, Transact } from '../messaging/outbox.ts'
import type { Tx } from '../postgres.ts'
import type { Operation, SagaState, SagaStatus } from './definition.ts'
import type { Saga } from './saga.ts'
import { type StoredSaga, type Transition, findSaga, historyOf, waitingSagas } from './store.ts'
import { nextToUndo } from './undo.ts'

/** A saga as an operator sees it. */
export type SagaSummary = {
  id: string
  name: string
  status: SagaStatus
  error: SagaState['error']
  /** The step whose compensation waits for an operator. */
  stuckAt: string | null
  steps: { name: string; status: string; at: string | null; error: SagaState['error']; tries: number }[]
  version: number
  correlationId: string
  createdAt: string
  updatedAt: string
}

/** The sagas of one module, for whoever has to decide what no retry could. */
export type Sagas = {
  /** Those that wait for an operator, oldest first. */
  list(options?: { limit?: number }): Promise<SagaSummary[]>
  /** A saga with everything it has heard, and from whom. */
  find(id: string): Promise<(SagaSummary & { history: Transition[] }) | undefined>
  /**
   * Tries the compensation that is stuck again, takes the operator's word that it is done, or rolls a saga back that is still
   * running; who asked is kept. What `keep` makes of the result commits with it.
   * @throws DomainError `not-found`; `not-possible` when the saga's state does not allow it
   */
  operate(trace: Trace, asked: { id: string; operation: Operation; by: string }, keep?: Keep): Promise<SagaSummary>
}

export const createSagas = <Source extends string>(parts: {
  sagas: Saga<Source, object>[]
  read: Tx
  transact: (trace: Trace, keep?: Keep) => Transact<Source>
  now: () => Date
}): Sagas => {
  const { sagas, read, transact, now } = parts
  return {
    list: async ({ limit = 100 } = {}) => (await waitingSagas(read, limit)).map(toSummary),
    find: async (id) => {
      const [saga, history] = await Promise.all([findSaga(read, id), historyOf(read, id)])
      return saga && { ...toSummary(saga), history }
    },
    operate: async (trace, asked, keep) => {
      const stored = await findSaga(read, asked.id)
      const saga = sagas.find(({ name }) => name === stored?.name)
      if (!stored || !saga) throw new DomainError('not-found', `There is no saga ${asked.id}.`)
      const story = { ...trace, correlationId: stored.correlationId }
      return transact(
        story,
        keep,
      )(async (_, emit, transaction) =>
        toSummary(await saga.operate({ transaction, emit, trace: story, now: now() }, asked)),
      )
    },
  }
}

const toSummary = ({ id, name, state, version, correlationId, createdAt, updatedAt }: StoredSaga): SagaSummary => ({
  id,
  name,
  status: state.status,
  error: state.error,
  stuckAt: state.status === 'needs-operator' ? (nextToUndo(state)?.name ?? null) : null,
  steps: state.steps.map(({ name, status, at, error, attempt, undo }) => ({
    name,
    status,
    at,
    error: undo?.error ?? error,
    tries: undo ? undo.attempt : attempt,
  })),
  version,
  correlationId,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
})
