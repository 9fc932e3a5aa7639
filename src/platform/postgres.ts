import { type SQL, sql } from 'drizzle-orm'
import { drizzle, type PgRemoteDatabase } from 'drizzle-orm/pg-proxy'
import postgres, { type ReservedSql, type Sql } from 'postgres'
import { type Step, durable } from './durable.ts'
import { UnavailableError, isTransient } from './errors.ts'
import type { Log } from './log.ts'
import { type Trusted, tlsOfUrl } from './tls.ts'

export type Value = string | number | bigint | boolean | null | Uint8Array
export type SqlRow = Record<string, string | number | boolean | null>

/** Runs Drizzle queries on the transaction's own connection, each prepared once per connection. */
export type Tx = Pick<
  PgRemoteDatabase,
  'select' | 'selectDistinct' | 'insert' | 'update' | 'delete' | 'execute' | 'with' | '$with'
>

/** Runs one prepared statement; rows are objects, timestamps, bigints and JSON come as text. */
export type Run = (text: string, parameters?: Value[]) => Promise<SqlRow[]>

/** A last statement of a transaction: all of them travel in one packet with `commit`. */
export type Finish = { text: string; parameters: Value[] }

export type Transaction = {
  tx: Tx
  run: Run
  finishWith(statement: Finish): void
  /**
   * Undoes what `work` wrote, and what it gave to `finishWith`, when it throws; the transaction goes on. The savepoint
   * travels with the first statement of `work`, its release with the statement after: neither costs a round trip.
   * @throws what `work` throws; a transient error when the transaction was lost with its connection.
   */
  savepoint<T>(work: () => Promise<T>): Promise<T>
}

export type PoolLoad = { size: number; inUse: number; waiting: number }

export type Postgres = {
  /**
   * Runs `work` in one transaction (read committed) and commits. `begin` travels with the first statement and
   * `finishWith` with `commit`, so n statements and a finish cost n + 1 round trips. A transaction without any statement costs none.
   * The commit is the durable step `step`, by default a command's.
   * @throws what `work` throws, after a rollback; `UnavailableError` when the outcome of the commit is unknown.
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>, step?: Step): Promise<T>
  /** Runs one prepared statement on its own, outside any transaction. */
  run: Run
  /** Drizzle outside a transaction, for reads. */
  read: Tx
  /** Runs a script of several statements, unprepared, as one implicit transaction. */
  script(text: string): Promise<void>
  /** How many of the connections for transactions are in use, and how many transactions wait for one. */
  load(): PoolLoad
  /** Waits for what runs and closes the connections, within `timeoutMs`. */
  close(timeoutMs?: number): Promise<void>
}

/**
 * A list of texts as one parameter, for `= any ($1::text[])`. A list out of JSON would be guessed to be long, and the planner
 * would rather read a whole table than look each of them up.
 */
export const textArray = (values: string[]): string =>
  `{${values.map((value) => `"${value.replaceAll(/[\\"]/g, '\\$&')}"`).join(',')}}`

/** The URL's `sslmode` says whether the connections are encrypted, and `ca` by whom a server is vouched for. */
export type PostgresOptions = { url: string; name: string; poolSize: number; log?: Log } & Trusted

/** The names of a row's columns, for an insert that names what it gives: another release may have more. */
export const columnsOf = (row: object | undefined): SQL =>
  sql.join(
    Object.keys(row ?? {}).map((name) => sql.identifier(name)),
    sql`, `,
  )

const asText = { serialize: (value: unknown) => String(value), parse: (value: string) => value }

const connect = ({ url, name, poolSize, log, ca }: PostgresOptions, max: number): Sql =>
  postgres(url, {
    ssl: tlsOfUrl(url, { ca }),
    max: Math.min(max, poolSize),
    fetch_types: false,
    connect_timeout: 5,
    idle_timeout: 0,
    backoff: (retries: number) => Math.min(0.05 * 2 ** retries, 1),
    connection: { application_name: name },
    onnotice: (notice) => log?.debug({ notice: notice['message'] }, 'postgres notice'),
    types: {
      date: { to: 1184, from: [1082, 1114, 1184], ...asText },
      json: { to: 114, from: [114, 3802], ...asText },
    },
  })

const prepared = { prepare: true }

const runOn =
  (sql: Sql | ReservedSql): Run =>
  (text, parameters = []) =>
    sql.unsafe<SqlRow[]>(text, parameters as never[], prepared)

const drizzleOn = (connection: () => Promise<Sql | ReservedSql>): Tx =>
  drizzle(async (text, parameters) => {
    const sql = await connection()
    return { rows: await sql.unsafe(text, parameters as never[], prepared).values() }
  })

/**
 * Opens a pool of at most `poolSize` connections for transactions and two for single statements. Transactions reserve
 * their connection, so that a single statement never shares one with a transaction that is open.
 */
export const openPostgres = (options: PostgresOptions): Postgres => {
  const pool = connect(options, options.poolSize)
  const singles = connect(options, 2)

  const load = { size: options.poolSize, inUse: 0, waiting: 0 }

  const reserve = async (): Promise<ReservedSql> => {
    load.waiting += 1
    try {
      const connection = await pool.reserve()
      load.inUse += 1
      return connection
    } finally {
      load.waiting -= 1
    }
  }

  const transaction: Postgres['transaction'] = async (work, step = 'transaction.commit') => {
    let reserved: ReservedSql | undefined
    let opening: Promise<ReservedSql> | undefined
    const finishing: Finish[] = []
    let ended = false
    // A statement that nobody awaited would otherwise run on its own behind the commit, or leak a reservation.
    const open = () => {
      if (ended) return Promise.reject(new Error('The transaction has ended: every statement in it must be awaited.'))
      return (opening ??= reserve().then((connection) => {
        reserved = connection
        connection.unsafe('begin').catch(() => undefined)
        return connection
      }))
    }
    const run: Run = async (text, parameters) => runOn(await open())(text, parameters)
    const savepoint: Transaction['savepoint'] = async (work) => {
      const connection = await open()
      const before = finishing.length
      const send = (statement: string) => connection.unsafe(statement)
      send('savepoint part').catch(() => undefined)
      try {
        const result = await work()
        send('release savepoint part').catch(() => undefined)
        return result
      } catch (error) {
        finishing.length = before
        await Promise.all([send('rollback to savepoint part'), send('release savepoint part')])
        throw error
      }
    }
    try {
      const result = await work({
        tx: drizzleOn(open),
        run,
        finishWith: (statement) => void finishing.push(statement),
        savepoint,
      })
      const connection = finishing.length > 0 || opening ? await open() : undefined
      ended = true
      if (connection) await durable(step, () => commit(connection, finishing))
      return result
    } catch (error) {
      ended = true
      await opening?.then((connection) => connection.unsafe('rollback')).catch(() => undefined)
      throw error
    } finally {
      if (reserved) load.inUse -= 1
      reserved?.release()
    }
  }

  return {
    transaction,
    run: runOn(singles),
    read: drizzleOn(() => Promise.resolve(singles)),
    script: async (text) => {
      await singles.unsafe(text).simple()
    },
    load: () => ({ ...load }),
    close: async (timeoutMs = 5_000) => {
      const timeout = timeoutMs / 1_000
      await Promise.all([pool.end({ timeout }), singles.end({ timeout })])
    },
  }
}

/** Sends the last statements and `commit` in one packet, and believes only an acknowledgement that says COMMIT. */
const commit = async (connection: ReservedSql, finishing: Finish[]): Promise<void> => {
  const run = runOn(connection)
  const sent = finishing.map(({ text, parameters }) => run(text, parameters))
  const [commitOutcome, ...outcomes] = await settled(connection.unsafe('commit'), sent)
  const failed = outcomes.find((outcome) => outcome.status === 'rejected')
  if (failed && !isTransient(failed.reason)) throw failed.reason
  if (commitOutcome.status === 'rejected') {
    if (!isTransient(commitOutcome.reason)) throw commitOutcome.reason
    throw new UnavailableError('The database did not confirm the commit: the outcome is unknown.', {
      cause: commitOutcome.reason,
    })
  }
  if (failed) throw failed.reason
  if (commitOutcome.value.command !== 'COMMIT') {
    throw new Error(
      'The transaction was rolled back by Postgres: a statement in it had failed and its error was swallowed.',
    )
  }
}

/** Sends the queries in their order, the commit last, without waiting in between. */
const settled = async (committing: ReturnType<ReservedSql['unsafe']>, sent: Promise<SqlRow[]>[]) => {
  const outcomes = Promise.allSettled(sent)
  const [commitOutcome] = await Promise.allSettled([committing])
  return [commitOutcome, ...(await outcomes)] as const
}
