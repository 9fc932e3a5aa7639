import { type SQL, sql } from 'drizzle-orm'
import type { Trace } from '../messaging/message.ts'
import { type Run, type SqlRow, type Tx, textArray } from '../postgres.ts'
import type { Input, SagaState, SagaStatus } from './definition.ts'

/** A saga as its row holds it. `version` is the sequence of its last event: it counts its transactions, and how often it was restated. */
export type StoredSaga<Data extends object = object> = {
  id: string
  name: string
  replyKey: string
  state: SagaState<Data>
  version: number
  correlationId: string
  createdAt: Date
  updatedAt: Date
}

/** One transaction of a saga: what it heard, and what it had come to afterwards. */
export type Transition = { version: number; at: string; status: SagaStatus; heard: Input[] }

const columns = 'id, name, reply_key, state, version, correlation_id, created_at, updated_at'

/** Locks the sagas that these replies name, in the order of their ids. */
export const lockByReplyKey = async (run: Run, name: string, keys: string[]): Promise<StoredSaga[]> => {
  const rows = await run(
    `select ${columns} from sagas where name = $1 and reply_key = any ($2::text[])
      order by id for update`,
    [name, textArray(keys)],
  )
  return rows.map(toStored)
}

/** Locks one saga; undefined when there is none. */
export const lockSaga = async (run: Run, name: string, id: string): Promise<StoredSaga | undefined> => {
  const [row] = await run(`select ${columns} from sagas where name = $1 and id = $2 for update`, [name, id])
  return row && toStored(row)
}

/** The sagas of a name by id, or the next of them after an id. */
export const findSagas = async (
  tx: Pick<Tx, 'execute'>,
  name: string,
  wanted: { ids: string[] } | { after: string | undefined; limit: number },
): Promise<StoredSaga[]> =>
  'ids' in wanted
    ? // The name is looked at afterwards: its index would be read for all sagas there are.
      (await select(tx, sql`where id = any (${`{${wanted.ids.join(',')}}`}::uuid[])`)).filter(
        (saga) => saga.name === name,
      )
    : select(
        tx,
        sql`where name = ${name} and (${wanted.after ?? null}::uuid is null or id > ${wanted.after ?? null}::uuid)
          order by id limit ${wanted.limit}`,
      )

/** The sagas that wait for an operator, oldest first. */
export const waitingSagas = (tx: Pick<Tx, 'execute'>, limit: number): Promise<StoredSaga[]> =>
  select(tx, sql`where status = 'needs-operator' order by id limit ${limit}`)

export const findSaga = async (tx: Pick<Tx, 'execute'>, id: string): Promise<StoredSaga | undefined> =>
  (await select(tx, sql`where id = ${id}`))[0]

const select = async (tx: Pick<Tx, 'execute'>, condition: SQL): Promise<StoredSaga[]> => {
  const rows = await tx.execute(sql`select ${sql.raw(columns)} from sagas ${condition}`)
  const names = columns.split(', ')
  return (rows as unknown as SqlRow[string][][]).map((values) =>
    toStored(Object.fromEntries(names.map((name, index) => [name, values[index] ?? null]))),
  )
}

export const historyOf = async (tx: Pick<Tx, 'execute'>, id: string): Promise<Transition[]> => {
  const rows = await tx.execute(
    sql`select version, at, status, heard from saga_history where saga_id = ${id} order by version`,
  )
  return (rows as unknown as [number, string, SagaStatus, string][]).map(([version, at, status, heard]) => ({
    version,
    at: new Date(at).toISOString(),
    status,
    heard: JSON.parse(heard) as Input[],
  }))
}

const saveMoved = `with moved as (
    select * from json_to_recordset($1) as row(id uuid, name text, reply_key text, status text, state json, version integer,
      correlation_id text, created_at timestamptz, updated_at timestamptz, heard json, causation_id text)
  ),
  saved as (
    insert into sagas (id, name, reply_key, status, state, version, correlation_id, created_at, updated_at)
    select id, name, reply_key, status, state, version, correlation_id, created_at, updated_at from moved
    on conflict (id) do update set status = excluded.status, state = excluded.state, version = excluded.version,
      updated_at = excluded.updated_at
  )
  insert into saga_history (saga_id, version, at, status, heard, causation_id)
  select id, version, updated_at, status, heard, causation_id from moved`

/** Saves the sagas and their history, in one statement. */
export const save = async (run: Run, moved: { saga: StoredSaga; heard: Input[]; trace: Trace }[]): Promise<void> => {
  const rows = moved.map(({ saga, heard, trace }) => ({
    id: saga.id,
    name: saga.name,
    reply_key: saga.replyKey,
    status: saga.state.status,
    state: saga.state,
    version: saga.version,
    correlation_id: saga.correlationId,
    created_at: saga.createdAt.toISOString(),
    updated_at: saga.updatedAt.toISOString(),
    heard,
    causation_id: trace.causationId,
  }))
  await run(saveMoved, [JSON.stringify(rows)])
}

const toStored = (row: SqlRow): StoredSaga => ({
  id: String(row['id']),
  name: String(row['name']),
  replyKey: String(row['reply_key']),
  state: JSON.parse(String(row['state'])) as SagaState,
  version: Number(row['version']),
  correlationId: String(row['correlation_id']),
  createdAt: new Date(String(row['created_at'])),
  updatedAt: new Date(String(row['updated_at'])),
})
