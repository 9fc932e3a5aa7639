import { DomainError, isTransient, messageOf } from '../errors.ts'
import type { Emit, Emittable, Trace } from '../messaging/message.ts'
import type { Transaction } from '../postgres.ts'
import { type OpenSpan, beginSpan } from '../tracing.ts'
import { type NewTimer, cancelTimers, setTimers } from '../timers.ts'
import { decide } from './decide.ts'
import type { Action, Input, Outcome, Waiting } from './definition.ts'
import type { SagaDeclaration } from './saga.ts'
import { type StoredSaga, save } from './store.ts'

/** A saga that a transaction moves: what it is about to hear, and what it has heard and taken in. */
export type Task<Source extends string, Data extends object> = {
  saga: StoredSaga<Data>
  inputs: Input<Data>[]
  heard: Input<Data>[]
  trace: Trace
  emit: Emit<Source>
}

export type On = {
  transaction: Transaction
  now: Date
  /** The timer of a wait that began when the saga was moved last. */
  timerOf(saga: StoredSaga, waiting: Waiting, trace: Trace): NewTimer
}

type LocalAction = Extract<Action, { do: 'run' | 'undo' }>

/**
 * Moves the sagas as far as this transaction can. Those that reach the same local step do it together; its outcome is the
 * next thing that they hear. Commands are emitted; state, history and timers travel with the commit.
 */
export const advance = async <Source extends string, Data extends object>(
  declaration: SagaDeclaration<Source, Data>,
  on: On,
  tasks: Task<Source, Data>[],
): Promise<void> => {
  const before = new Map(tasks.map((task) => [task, task.saga]))
  for (let waiting = tasks; waiting.length > 0;) {
    const groups = new Map<string, { action: LocalAction; tasks: Task<Source, Data>[] }>()
    for (const task of waiting) {
      const action = hearUntilLocal(declaration, on, task)
      if (!action) continue
      const name = `${action.do} ${action.step}`
      const group = groups.get(name)
      if (group) group.tasks.push(task)
      else groups.set(name, { action, tasks: [task] })
    }
    for (const group of groups.values()) await actLocally(declaration, on, group.action, group.tasks)
    waiting = [...groups.values()].flatMap((group) => group.tasks)
  }
  await persist(declaration, on, tasks, before)
}

/** Takes in what the saga hears until a local step is to be done, and sends what there is to send. */
const hearUntilLocal = <Source extends string, Data extends object>(
  { definition, commands }: SagaDeclaration<Source, Data>,
  { now }: On,
  task: Task<Source, Data>,
): LocalAction | undefined => {
  for (let input = task.inputs.shift(); input; input = task.inputs.shift()) {
    const { saga } = task
    const { state, action } = decide(definition, saga.state, input, now)
    if (state === saga.state) continue
    task.saga = { ...saga, state }
    task.heard.push(input)
    if (action?.do === 'run' || action?.do === 'undo') return action
    if (action) {
      const { send, undo = send } = commands[action.step] ?? {}
      const message = (action.do === 'send' ? send : undo)?.({ id: saga.id, data: state.data })
      openStep(task, action)?.end()
      if (message) task.emit(message)
    }
  }
  return undefined
}

const actLocally = async <Source extends string, Data extends object>(
  { local }: SagaDeclaration<Source, Data>,
  { transaction }: On,
  action: LocalAction,
  tasks: Task<Source, Data>[],
): Promise<void> => {
  const step = local[action.step]
  const work = action.do === 'run' ? step?.run : step?.undo
  if (!work) throw new Error(`Nothing says how to ${action.do} the step ${action.step}.`)
  const emitted: { task: Task<Source, Data>; message: Emittable<Source> }[] = []
  const reached = tasks.map((task) => ({
    id: task.saga.id,
    data: task.saga.state.data,
    emit: (message: Emittable<Source>) => void emitted.push({ task, message }),
  }))
  const act = async (): Promise<Outcome<Data>[]> => {
    const learned = (await work(transaction.tx, reached)) ?? []
    return tasks.map((_, index) => ({ is: action.do === 'run' ? 'done' : 'undone', data: learned[index] }))
  }
  const outcomes = await inSteps(tasks, action, () => (tasks.length === 1 ? alone(transaction, action, act) : act()))
  if (outcomes.every(({ is }) => is === 'done' || is === 'undone')) {
    for (const { task, message } of emitted) task.emit(message)
  }
  for (const [index, task] of tasks.entries()) {
    const outcome = outcomes[index]
    if (outcome) task.inputs.unshift({ type: 'outcome', step: action.step, outcome })
  }
}

/** Does a local step in a span of each saga that takes it. */
const inSteps = async <Source extends string, Data extends object>(
  tasks: Task<Source, Data>[],
  action: Action,
  work: () => Promise<Outcome<Data>[]>,
): Promise<Outcome<Data>[]> => {
  const spans = tasks.map((task) => openStep(task, action))
  try {
    const outcomes = await work()
    for (const [index, span] of spans.entries()) {
      span?.set({ 'bulkhead.outcome': outcomes[index]?.is })
      span?.end()
    }
    return outcomes
  } catch (error) {
    for (const span of spans) span?.end(error)
    throw error
  }
}

const openStep = <Source extends string, Data extends object>(
  { saga, trace }: Task<Source, Data>,
  { do: verb, step }: Action,
): OpenSpan | undefined => {
  const span = beginSpan(`saga ${saga.name}: ${verb} ${step}`, 'internal', trace)
  span?.set({ 'bulkhead.saga.id': saga.id })
  return span
}

/** A refusal undoes what the step wrote and is its outcome. A fault is one of a compensation only: a step is tried again whole. */
const alone = async <Data extends object>(
  transaction: Transaction,
  action: LocalAction,
  act: () => Promise<Outcome<Data>[]>,
): Promise<Outcome<Data>[]> => {
  try {
    return await transaction.savepoint(act)
  } catch (error) {
    if (isTransient(error)) throw error
    const refused = error instanceof DomainError
    if (!refused && action.do === 'run') throw error
    const failure = { code: refused ? error.code : 'fault', message: messageOf(error) }
    return [{ is: action.do === 'run' ? 'failed' : 'undo-failed', error: failure }]
  }
}

const persist = async <Source extends string, Data extends object>(
  { definition, changed }: SagaDeclaration<Source, Data>,
  { transaction, now, timerOf }: On,
  tasks: Task<Source, Data>[],
  before: Map<Task<Source, Data>, StoredSaga<Data>>,
): Promise<void> => {
  const moved = tasks.filter(({ heard }) => heard.length > 0)
  if (moved.length === 0) return
  const set = new Map<string, NewTimer>()
  const cancelled = new Set<string>()
  for (const task of moved) {
    task.saga = { ...task.saga, version: task.saga.version + 1, updatedAt: now }
    task.emit(changed(task.saga))
    const [old, next] = [before.get(task)?.state.timer, task.saga.state.timer]
    if (old === next) continue
    // The one that fired just now ends with its own transaction.
    if (old && task.heard[0]?.type !== 'timeout') cancelled.add(timerOf(task.saga, old, task.trace).key)
    if (next) {
      const timer = timerOf(task.saga, next, task.trace)
      set.set(timer.key, timer)
      // A rest has the key of the wait that it follows, and replaces it.
      cancelled.delete(timer.key)
    }
  }
  // One packet. It does not wait for the commit: the same transaction may hear of these sagas again.
  await Promise.all([
    save(transaction.run, moved),
    setTimers(transaction.tx, [...set.values()]),
    cancelTimers(transaction.tx, `saga:${definition.name}`, [...cancelled]),
  ])
}
