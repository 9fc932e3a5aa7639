import { type Outbox, createOutbox } from '#platform/messaging/outbox'
import type { Postgres, Transaction } from '#platform/postgres'
import type { Log } from '#platform/log'
import { eventually } from './eventually.ts'
import { silent } from './messaging.ts'

/** The outbox of the module orders, on this pool. */
export const outboxOn = (postgres: Pick<Postgres, 'transaction'>): Outbox<'orders'> =>
  createOutbox({
    source: 'orders',
    postgres,
    newId: () => Bun.randomUUIDv7(),
    now: () => new Date(),
    committed: () => undefined,
  })

/** The same pool, which notes what is asked of it and what fails. */
export const watched = (postgres: Postgres) => {
  const seen = { statements: 0, transactions: 0, errors: [] as unknown[] }
  const noted = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (error) {
      seen.errors.push(error)
      throw error
    }
  }
  const counting = (transaction: Transaction): Transaction => ({
    ...transaction,
    // Each Drizzle query begins with a method of `tx`.
    tx: new Proxy(transaction.tx, {
      get: (target, name) => {
        seen.statements += 1
        const method: unknown = Reflect.get(target, name)
        return typeof method === 'function' ? method.bind(target) : method
      },
    }),
    run: (text, parameters) => {
      seen.statements += 1
      return transaction.run(text, parameters)
    },
    finishWith: (statement) => {
      seen.statements += 1
      transaction.finishWith(statement)
    },
  })
  return {
    ...postgres,
    seen,
    run: ((text, parameters) => {
      seen.statements += 1
      return noted(postgres.run(text, parameters))
    }) satisfies Postgres['run'],
    transaction: (<T>(work: (transaction: Transaction) => Promise<T>) => {
      seen.transactions += 1
      return noted(postgres.transaction((transaction) => work(counting(transaction))))
    }) satisfies Postgres['transaction'],
  }
}

/** A log that keeps what it was told. */
export const keptLog = () => {
  const lines: { message: string; fields: Record<string, unknown> }[] = []
  const keep = (fields: unknown, message?: unknown) =>
    void lines.push({ message: String(message), fields: fields as Record<string, unknown> })
  return { lines, log: { ...silent, warn: keep, error: keep, child: () => silent } as Log }
}

/** A door that is shut until it is opened; `reached` resolves when somebody stands before it. */
export const door = () => {
  const reached = Promise.withResolvers<void>()
  const opened = Promise.withResolvers<void>()
  return {
    reached: reached.promise,
    open: () => opened.resolve(),
    pass: () => {
      reached.resolve()
      return opened.promise
    },
  }
}

/** Resolves when that many sessions of this database wait for a lock. */
export const lockWaiters = (owner: Postgres, count = 1): Promise<void> =>
  eventually(async () => {
    const [row] = await owner.run(
      `select count(*)::int as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    if (Number(row?.['waiting']) < count) throw new Error(`${String(row?.['waiting'])} of ${count} wait for a lock.`)
  })
