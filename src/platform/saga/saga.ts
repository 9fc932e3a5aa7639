import { z } from 'zod'
import { DomainError } from '../errors.ts'
import type { Emit, Message, Trace } from '../messaging/message.ts'
import type { Transaction, Tx } from '../postgres.ts'
import { type NewTimer, type TimerDefinition, onTimer } from '../timers.ts'
import { type Task, advance } from './advance.ts'
import { type Operation, type Outcome, type SagaDefinition, type Waiting, initialState } from './definition.ts'
import { type StoredSaga, findSagas, lockByReplyKey, lockSaga } from './store.ts'

/** A saga that has reached a step, with what it knows. */
export type AtStep<Source extends string, Data extends object> = { id: string; data: Data; emit: Emit<Source> }

type Learned<Data extends object> = Partial<Data>[] | void

/** A step that is done, and undone, in the transaction of its transition. */
export type LocalStep<Source extends string, Data extends object> = {
  /**
   * Takes all sagas that reach the step in one transaction, and answers with what each learns by it.
   * @throws DomainError to refuse: alone it fails the step; among others the transaction is tried again one by one
   */
  run(tx: Tx, sagas: AtStep<Source, Data>[]): Promise<Learned<Data>>
  /** What it throws is a failed compensation, which is tried again and then waits for an operator. */
  undo?(tx: Tx, sagas: AtStep<Source, Data>[]): Promise<Learned<Data>>
}

type Command = Message<string, 'commands'>

/** A step that is asked of another module by a message. `undo` asks that its effect be taken back, or never come. */
export type CommandStep<Data extends object> = {
  send(saga: { id: string; data: Data }): Command
  undo?(saga: { id: string; data: Data }): Command
}

/** What a module declares of an orchestration: the definition decides, the steps do. */
export type SagaDeclaration<Source extends string, Data extends object> = {
  definition: SagaDefinition
  local: Record<string, LocalStep<Source, Data>>
  commands: Record<string, CommandStep<Data>>
  /** The event that says that the saga has moved; its sequence is the saga's version. */
  changed(saga: StoredSaga<Data>): Message<Source, 'events'>
}

/** What a transition works with. */
export type SagaContext = { transaction: Transaction; now: Date }

/** A saga that begins; what it sends belongs to the story of `trace`. */
export type Begun<Source extends string, Data extends object> = {
  id: string
  /** What the replies to its commands will name it by. */
  replyKey: string
  data: Data
  trace: Trace
  emit: Emit<Source>
}

/** What became of a step of the saga with this reply key; what follows belongs to the story of `trace`. */
export type Reply<Source extends string, Data extends object> = {
  key: string
  step: string
  outcome: Outcome<Data>
  trace: Trace
  emit: Emit<Source>
}

export type Saga<Source extends string, Data extends object> = {
  name: string
  /** Begins sagas and takes them as far as their local steps and their first commands go, in the transaction of `context`. */
  start(context: SagaContext, begun: Begun<Source, Data>[]): Promise<StoredSaga<Data>[]>
  /**
   * Moves the sagas that these replies are for; replies of no saga, and those that come late or twice, change nothing.
   * `locked` runs when the sagas are locked and nothing else is: it may lock in one order what the steps will lock in theirs.
   */
  hear(context: SagaContext & { locked?: () => Promise<void> }, replies: Reply<Source, Data>[]): Promise<void>
  /** Fires when a step, or a compensation, was not answered in time or is to be tried again. */
  timer(now: () => Date): TimerDefinition<Source>
  /**
   * Does what an operator asks; who it was stays in the history.
   * @throws DomainError `not-found`; `not-possible` when the saga's state does not allow it
   */
  operate(
    context: SagaContext & { emit: Emit<Source>; trace: Trace },
    asked: { id: string; operation: Operation; by: string },
  ): Promise<StoredSaga<Data>>
  /** The sagas by their ids, or the next of them after an id. */
  find(tx: Pick<Tx, 'execute'>, wanted: Parameters<typeof findSagas>[2]): Promise<StoredSaga<Data>[]>
}

const timerData = z.object({
  sagaId: z.uuid(),
  step: z.string(),
  phase: z.enum(['step', 'undo']),
  attempt: z.int(),
})

/**
 * Makes a durable orchestration. Its state is a row that every transition locks, so two processes never advance one saga
 * twice; what a transition writes, the messages it sends and the timer it waits for are one commit.
 */
export const createSaga = <Source extends string, Data extends object>(
  declaration: SagaDeclaration<Source, Data>,
): Saga<Source, Data> => {
  const { definition } = declaration
  const { name } = definition
  checkComplete(declaration)
  const move = ({ transaction, now }: SagaContext, tasks: Task<Source, Data>[]) =>
    advance(declaration, { transaction, now, timerOf }, tasks)

  const timerOf = (saga: StoredSaga, { step, phase, attempt, dueAt }: Waiting, trace: Trace): NewTimer => ({
    kind: `saga:${name}`,
    // Of its own for each wait, so that one which fires may set the next.
    key: `${saga.id}:${step}:${phase}:${attempt}`,
    inMs: Date.parse(dueAt) - saga.updatedAt.getTime(),
    data: { sagaId: saga.id, step, phase, attempt },
    trace,
  })

  return {
    name,
    start: async (context, begun) => {
      const { now } = context
      const tasks = begun.map(({ id, replyKey, data, trace, emit }): Task<Source, Data> => {
        const { correlationId } = trace
        const state = initialState(definition, data)
        const saga = { id, name, replyKey, state, version: 0, correlationId, createdAt: now, updatedAt: now }
        return { saga, inputs: [{ type: 'started' }], heard: [], trace, emit }
      })
      await move(context, tasks)
      return tasks.map(({ saga }) => saga)
    },
    hear: async (context, replies) => {
      if (replies.length === 0) return
      const keys = [...new Set(replies.map(({ key }) => key))]
      const sagas = await lockByReplyKey(context.transaction.run, name, keys)
      await context.locked?.()
      const tasks = sagas.flatMap((saga): Task<Source, Data>[] => {
        const own = replies.filter(({ key }) => key === saga.replyKey)
        const [first] = own
        if (!first) return []
        const inputs = own.map(({ step, outcome }) => ({ type: 'outcome' as const, step, outcome }))
        const { trace, emit } = first
        return [{ saga: saga as StoredSaga<Data>, inputs, heard: [], trace, emit }]
      })
      await move(context, tasks)
    },
    timer: (now) =>
      onTimer<Source, z.infer<typeof timerData>>(`saga:${name}`, timerData, async (context, { data, trace }) => {
        const { sagaId, ...waited } = data
        const saga = (await lockSaga(context.transaction.run, name, sagaId)) as StoredSaga<Data> | undefined
        if (!saga) return
        const { transaction, emit } = context
        await move({ transaction, now: now() }, [
          { saga, inputs: [{ type: 'timeout', ...waited }], heard: [], trace, emit },
        ])
      }),
    operate: async (context, { id, operation, by }) => {
      const saga = (await lockSaga(context.transaction.run, name, id)) as StoredSaga<Data> | undefined
      if (!saga) throw new DomainError('not-found', `There is no ${name} ${id}.`)
      const { trace, emit } = context
      const task: Task<Source, Data> = { saga, inputs: [{ type: operation, by }], heard: [], trace, emit }
      await move(context, [task])
      if (task.saga === saga) {
        throw new DomainError('not-possible', `The ${name} ${id} is ${saga.state.status}: it cannot ${operation} now.`)
      }
      return task.saga
    },
    find: async (tx, wanted) => (await findSagas(tx, name, wanted)) as StoredSaga<Data>[],
  }
}

/** @throws Error when a step of the definition lacks what does or undoes it */
const checkComplete = <Source extends string, Data extends object>({
  definition,
  local,
  commands,
}: SagaDeclaration<Source, Data>): void => {
  for (const { name, kind, compensation } of definition.steps) {
    if (kind === 'local' ? !local[name] : !commands[name]) {
      throw new Error(`The saga ${definition.name} does not say how to do the ${kind} step ${name}.`)
    }
    const undo = compensation === 'local' ? local[name]?.undo : commands[name]?.undo
    if (compensation !== 'none' && !undo) {
      throw new Error(`The saga ${definition.name} does not say how to undo the step ${name} by a ${compensation}.`)
    }
  }
}
