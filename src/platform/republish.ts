import { durable } from './durable.ts'
import { isTransient } from './errors.ts'
import type { Message } from './messaging/message.ts'
import type { Outbox } from './messaging/outbox.ts'
import type { Run, Transaction, Tx } from './postgres.ts'
import { backoffMs, sleep } from './retry.ts'

/** How the aggregates of one kind are said again. */
export type Restating<Source extends string> = {
  /** What they are; it names the progress. */
  thing: string
  /** Where they are: the columns of their id and of the sequence of their last event, and what has to hold besides. */
  rows: { table: string; id: string; sequence: string; where?: string }
  /** The restatements of these aggregates, one each, with the sequence that their rows have now. The rows are locked. */
  events(tx: Tx, ids: string[]): Promise<Message<Source, 'events'>[]>
}

export type Republishing = {
  /** The most aggregates a second, so that what is new is not held up behind them. */
  perSecond: number
  /** By how much each sequence goes up: more than 1 after a restore, when consumers may have seen later ones. */
  raise: number
  progress?: (thing: string, count: number) => void
}

export type RepublishOptions<Source extends string> = {
  restating: Restating<Source>[]
  run: Run
  outbox: Pick<Outbox<Source>, 'transact'>
  newId: () => string
  stepSize?: number
}

const tries = 10

/** A row that is locked for long, or a database that is away for a moment, ends nothing: no step counts twice. */
const patiently = async <T>(work: () => Promise<T>): Promise<T> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      if (!isTransient(error) || attempt === tries) throw error
      await sleep(backoffMs(attempt, { firstMs: 100, maxMs: 2_000 }))
    }
  }
}

/** Raises the sequences of the next rows by id, which stay locked; answers with their ids in their order. */
const raiseNext = ({ table, id, sequence, where = 'true' }: Restating<string>['rows'], after: string | null) =>
  `with held as (
    select ${id} as place from ${table} where ${where} ${after === null ? '' : `and ${id} > $3`} order by ${id} limit $1 for update
  ),
  raised as (
    update ${table} set ${sequence} = ${sequence} + $2::integer from held where ${id} = held.place returning held.place
  )
  select place::text as id from raised order by place`

/**
 * Says the present state of every aggregate again, through the outbox: each gets an event that carries on its sequence. Works in
 * steps, each a transaction that holds its rows, so that state and sequence agree while others write. What was interrupted goes
 * on where it ended, with the `raise` it began with, or begins anew when a greater one is asked for; two at once share the work.
 * Returns how many of each kind were restated.
 */
export const createRepublish = <Source extends string>(options: RepublishOptions<Source>) => {
  const { restating, run, outbox, newId, stepSize = 200 } = options

  /** A statement that is a transaction of its own. */
  const alone: Run = (text, parameters) => durable('transaction.commit', () => run(text, parameters))

  const begin = async (raise: number): Promise<void> => {
    // A copy of the database may hold one that was under way, and what raises further was asked for after a restore.
    await alone('delete from restatements where raise < $1', [raise])
    const [under] = await run('select thing from restatements limit 1')
    if (under) return
    for (const { thing } of restating) {
      await alone('insert into restatements (thing, raise) values ($1, $2) on conflict do nothing', [thing, raise])
    }
  }

  /** Restates the next aggregates; answers with how many were restated in all, undefined when there are no more. */
  const step = (transact: ReturnType<typeof outbox.transact>, { thing, rows, events }: Restating<Source>) =>
    transact(async (tx, emit, transaction: Transaction): Promise<{ count: number; size: number } | undefined> => {
      const [at] = await transaction.run(
        'select after, count, raise from restatements where thing = $1 and not done for update',
        [thing],
      )
      if (!at) return undefined
      const after = at['after'] === null ? null : String(at['after'])
      const raised = await transaction.run(raiseNext(rows, after), [
        stepSize,
        Number(at['raise']),
        ...(after === null ? [] : [after]),
      ])
      const ids = raised.map(({ id }) => String(id))
      const messages = ids.length === 0 ? [] : await events(tx, ids)
      for (const message of messages) emit(message)
      const count = Number(at['count']) + messages.length
      transaction.finishWith({
        text: 'update restatements set after = $2, count = $3, done = $4 where thing = $1',
        parameters: [thing, ids.at(-1) ?? after, count, ids.length < stepSize],
      })
      return { count, size: messages.length }
    })

  return async ({ perSecond, raise, progress }: Republishing): Promise<Map<string, number>> => {
    const id = newId()
    const transact = outbox.transact({ correlationId: id, causationId: id })
    await begin(raise)
    for (const each of restating) {
      for (;;) {
        const startedAt = performance.now()
        const stepped = await patiently(() => step(transact, each))
        if (!stepped) break
        progress?.(each.thing, stepped.count)
        await sleep(Math.max(0, (stepped.size * 1_000) / perSecond - (performance.now() - startedAt)))
      }
    }
    const rows = await run('select thing, count from restatements')
    await alone('delete from restatements where (select bool_and(done) from restatements)')
    return new Map(rows.map((row) => [String(row['thing']), Number(row['count'])]))
  }
}
