import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { type Socket, connect } from 'node:net'
import postgres, { type Sql } from 'postgres'
import { testDatabase } from '../test/database.ts'
import { eventually } from '../test/eventually.ts'
import { messageThrownBy, thrownBy } from '../test/thrown.ts'

setDefaultTimeout(60_000)

let database: Awaited<ReturnType<typeof testDatabase>>
let control: Sql
const opened: Sql[] = []

const open = (max: number, url = database.ownerUrl) => {
  const sql = postgres(url, { max, fetch_types: false, connect_timeout: 5, onnotice: () => undefined })
  opened.push(sql)
  return sql
}

beforeAll(async () => {
  database = await testDatabase()
  control = open(1)
  await control`create table marks (mark text not null)`
})

afterAll(async () => {
  await Promise.all(opened.map((sql) => sql.end({ timeout: 0 }).catch(() => undefined)))
  await database.drop()
})

const marks = async () =>
  (await control<{ mark: string }[]>`select mark from marks order by mark`).map(({ mark }) => mark)

const backend = async (sql: Pick<Sql, 'unsafe'>): Promise<number> => {
  const [row] = await sql.unsafe<{ pid: number }[]>('select pg_backend_pid() as pid')
  return row?.pid ?? 0
}

const kill = async (pid: number) => {
  await control`select pg_terminate_backend(${pid})`
}

const outcome = (query: PromiseLike<unknown>) =>
  query.then(
    () => 'answered',
    () => 'rejected',
  )

/** Ends the server's side of a reserved connection, and waits until its handle knows. */
const die = async (reserved: Pick<Sql, 'unsafe'>) => {
  await kill(await backend(reserved))
  await eventually(async () => expect(await outcome(reserved.unsafe('select 1'))).toBe('rejected'))
}

for (const max of [1, 2]) {
  for (let queued = 96; queued <= 104; queued += 1) {
    test(`no acknowledged write is lost when begin is query ${queued} of a pipeline, ${max} connections`, async () => {
      await control`truncate marks`
      const sql = open(max)
      for (let warm = 0; warm < max; warm += 1) await sql`select 1`
      const plain = Array.from({ length: queued * max }, () => outcome(sql`select 1`))
      await sql.begin((tx) => tx`insert into marks values ('inside')`)
      await Promise.all(plain)
      await sql`insert into marks values ('later')`
      expect(await marks()).toEqual(['inside', 'later'])
      const idle =
        await control`select from pg_stat_activity where state like 'idle in transaction%' and datname = current_database()`
      expect(idle).toHaveLength(0)
      await sql.end({ timeout: 1 })
    })
  }
}

test('a connection is reserved fresh from the server, without types to fetch', async () => {
  const reserved = await open(1).reserve()
  expect(await backend(reserved)).toBeGreaterThan(0)
  reserved.release()
})

test('a reservation waits for its turn when all connections are reserved, and none is given out twice', async () => {
  const sql = open(2)
  const first = await sql.reserve()
  const second = await sql.reserve()
  expect(await backend(first)).not.toBe(await backend(second))
  const pid = await backend(first)
  let third: Awaited<ReturnType<Sql['reserve']>> | undefined
  const waiting = sql.reserve().then((reserved) => (third = reserved))
  await backend(second)
  expect(third).toBeUndefined()
  first.release()
  await waiting
  expect(third && (await backend(third))).toBe(pid)
  second.release()
  third?.release()
})

test('many reservations at once are all served by a pool of two', async () => {
  const sql = open(2)
  const pids = await Promise.all(
    Array.from({ length: 30 }, async () => {
      const reserved = await sql.reserve()
      const pid = await backend(reserved)
      reserved.release()
      return pid
    }),
  )
  expect(pids).toHaveLength(30)
  expect(new Set(pids).size).toBeLessThanOrEqual(2)
})

test('a reservation that cannot connect is rejected, and so is a begin', async () => {
  const nowhere = new URL(database.ownerUrl)
  nowhere.port = '1'
  expect(await thrownBy(open(1, nowhere.href).reserve())).toBeInstanceOf(Error)
  expect(await thrownBy(open(1, nowhere.href).begin((tx) => tx`select 1`))).toBeInstanceOf(Error)
  const stranger = new URL(database.ownerUrl)
  stranger.password = 'wrong'
  expect(await messageThrownBy(open(1, stranger.href).reserve())).toContain('password')
})

test('the handle of a connection that died never writes into the transaction of its successor', async () => {
  const sql = open(1)
  await control`truncate marks`
  const dead = await sql.reserve()
  await die(dead)
  const next = await sql.reserve()
  await next.unsafe('begin')
  await next.unsafe(`insert into marks values ('successor')`)
  expect(await outcome(dead.unsafe(`insert into marks values ('dead')`))).toBe('rejected')
  await next.unsafe('commit')
  expect(await marks()).toEqual(['successor'])
  next.release()
})

test('releasing the handle of a connection that died does not release the reservation of its successor', async () => {
  const sql = open(1)
  const dead = await sql.reserve()
  await die(dead)
  const next = await sql.reserve()
  dead.release()
  let stolen = false
  const waiting = sql.reserve().then((reserved) => {
    stolen = true
    return reserved
  })
  await backend(next)
  await backend(next)
  expect(stolen).toBe(false)
  next.release()
  ;(await waiting).release()
})

test('the handle of a begin whose connection died never writes into a later transaction', async () => {
  const sql = open(1)
  await control`truncate marks`
  let late: (() => PromiseLike<unknown>) | undefined
  const died = sql.begin(async (tx) => {
    late = () => tx.unsafe(`insert into marks values ('dead')`)
    await kill(await backend(tx))
    await new Promise(() => undefined)
  })
  expect(await thrownBy(died)).toBeInstanceOf(Error)
  await sql.begin(async (tx) => {
    await tx.unsafe(`insert into marks values ('successor')`)
    expect(late && (await outcome(late()))).toBe('rejected')
  })
  expect(await marks()).toEqual(['successor'])
})

test('the first statement on a new connection is not answered with the error that ended the old one', async () => {
  const sql = open(1)
  const reserved = await sql.reserve()
  await die(reserved)
  expect(await outcome(sql`select 1`)).toBe('answered')
})

test('a connection that closes with a statement still in its buffer connects again', async () => {
  const { hostname, port } = new URL(database.ownerUrl)
  const sockets: Socket[] = []
  const socket = () =>
    new Promise<Socket>((resolve) => {
      const next = connect(Number(port), hostname, () => resolve(next))
      sockets.push(next)
    })
  // The type of this option is missing in the driver.
  const sql = postgres(database.ownerUrl, { max: 1, fetch_types: false, connect_timeout: 5, socket } as object)
  opened.push(sql)
  await sql`select 1`
  const buffered = outcome(sql`select 2`)
  // A few microtasks later the statement is in the buffer, which is flushed after this phase of the event loop.
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve()
  sockets[0]?.destroy()
  sockets[0]?.emit('close', false)
  expect(await buffered).toBe('rejected')
  expect(await outcome(sql`select 3`)).toBe('answered')
})

test('statements queued on a reserved connection are rejected when it dies, and do not hang', async () => {
  const sql = open(1)
  const reserved = await sql.reserve()
  const pid = await backend(reserved)
  const queued = Array.from({ length: 150 }, () =>
    outcome(reserved.unsafe('select pg_sleep(60) where $1::text is null or true', ['x'])),
  )
  await kill(pid)
  expect(new Set(await Promise.all(queued))).toEqual(new Set(['rejected']))
})
