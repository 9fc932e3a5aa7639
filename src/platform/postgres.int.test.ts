import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { type TestSchema, testSchema } from '../test/database.ts'
import { eventually } from '../test/eventually.ts'
import { tcpProxy } from '../test/tcp-proxy.ts'
import { messageThrownBy, thrownBy } from '../test/thrown.ts'
import { UnavailableError, isTransient } from './errors.ts'
import { textArray, type Postgres, openPostgres } from './postgres.ts'

setDefaultTimeout(60_000)

let schema: TestSchema
let postgres: Postgres

beforeAll(async () => {
  schema = await testSchema('create table marks (mark text not null, constraint marks_key unique (mark))')
  postgres = schema.postgres
})

afterAll(() => schema.close())

const insert = 'insert into marks (mark) values ($1)'
const newMark = () => Bun.randomUUIDv7()

const marksOf = async (...marks: string[]) => {
  const rows = await schema.owner.run('select mark from orders.marks where mark = any ($1) order by mark', [
    `{${marks.join(',')}}`,
  ])
  return rows.map((row) => row['mark'])
}

const throughProxy = async (poolSize: number, work: (pool: Postgres, proxy: Proxy) => Promise<void>) => {
  const proxy = await tcpProxy(schema.url)
  const pool = openPostgres({ url: proxy.url, name: 'test-proxied', poolSize })
  try {
    await work(pool, proxy)
  } finally {
    await pool.close(100)
    proxy.close()
  }
}
type Proxy = Awaited<ReturnType<typeof tcpProxy>>

test('what a transaction wrote is gone when its work throws, and the error is the one thrown', async () => {
  const [mark, thrown] = [newMark(), new Error('on purpose')]
  const work = postgres.transaction(async ({ run, tx, finishWith }) => {
    await run(insert, [mark])
    await tx.execute(sql`insert into marks (mark) values (${`${mark}x`})`)
    finishWith({ text: insert, parameters: [`${mark}y`] })
    throw thrown
  })
  expect(await work.catch((error: unknown) => error)).toBe(thrown)
  expect(await marksOf(mark, `${mark}x`, `${mark}y`)).toEqual([])
})

test('a transaction whose last statement is refused throws its error and leaves nothing', async () => {
  const mark = newMark()
  const work = postgres.transaction(async ({ run, finishWith }) => {
    await run(insert, [mark])
    finishWith({ text: insert, parameters: [mark] })
  })
  expect(await messageThrownBy(work)).toContain('marks_key')
  expect(await marksOf(mark)).toEqual([])
})

test('a statement error that the work swallows is not taken for a commit', async () => {
  const mark = newMark()
  const work = postgres.transaction(async ({ run }) => {
    await run(insert, [mark])
    await run(insert, [mark]).catch(() => undefined)
    return 'done'
  })
  expect(await messageThrownBy(work)).toContain('swallowed')
  expect(await marksOf(mark)).toEqual([])
})

test('begin travels with the first statement and the last statement with commit', () =>
  throughProxy(1, async (pool, proxy) => {
    const work = () =>
      pool.transaction(async ({ run, finishWith }) => {
        await run(insert, [newMark()])
        await run('select mark from marks where mark = $1', ['none'])
        finishWith({ text: insert, parameters: [newMark()] })
      })
    await work()
    proxy.trips()
    await work()
    expect(proxy.trips()).toBe(3)
  }))

test('a transaction of one last statement costs one round trip', () =>
  throughProxy(1, async (pool, proxy) => {
    const work = () =>
      pool.transaction(({ finishWith }) => {
        finishWith({ text: insert, parameters: [newMark()] })
        return Promise.resolve()
      })
    await work()
    proxy.trips()
    await work()
    expect(proxy.trips()).toBe(1)
  }))

test('a transaction without a statement reaches for no connection', () =>
  throughProxy(1, async (pool, proxy) => {
    expect(await pool.transaction(() => Promise.resolve('answer'))).toBe('answer')
    expect(proxy.connections()).toBe(0)
  }))

test('statements are prepared once a connection, by Drizzle too', async () => {
  const one = schema.open(1)
  const prepared = () =>
    one.transaction(async ({ run, tx }) => {
      await run('select 1 as raw where $1::text is null', ['x'])
      await tx.execute(sql`select 2 as drizzled where ${'x'}::text is null`)
      const rows = await run(
        `select statement from pg_prepared_statements where statement like $1 or statement like $2 order by statement`,
        ['select 1 as raw%', 'select 2 as drizzled%'],
      )
      return rows.length
    })
  expect(await prepared()).toBe(2)
  expect(await prepared()).toBe(2)
})

test('a commit that is not acknowledged is an UnavailableError, since it may have happened', () =>
  throughProxy(1, async (pool, proxy) => {
    const mark = newMark()
    const error = await pool
      .transaction(async ({ run }) => {
        await run(insert, [mark])
        proxy.cutAfter('commit')
      })
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(UnavailableError)
    expect((error as Error).message).toContain('outcome is unknown')
    await eventually(async () => expect(await marksOf(mark)).toEqual([mark]))
  }))

test('a connection that is cut before the commit is a transient error, and nothing is written', () =>
  throughProxy(1, async (pool, proxy) => {
    const mark = newMark()
    const error = await pool
      .transaction(async ({ run }) => {
        await run(insert, [mark])
        proxy.cut()
        await run('select 1 where $1::text is null', ['x'])
      })
      .catch((thrown: unknown) => thrown)
    expect(isTransient(error)).toBe(true)
    await pool.transaction(({ run }) => run('select $1::text', ['the pool goes on']))
    expect(await marksOf(mark)).toEqual([])
  }))

test('a transaction whose backend is terminated ends with a transient error, and does not wait without end', async () => {
  for (let time = 0; time < 20; time += 1) {
    const work = postgres.transaction(async ({ run }) => {
      const [row] = await run('select pg_backend_pid() as pid')
      await schema.owner.run('select pg_terminate_backend($1::int)', [Number(row?.['pid'])])
      await run(insert, [newMark()])
    })
    expect(isTransient(await thrownBy(work))).toBe(true)
  }
})

test('a statement issued after its transaction ended is refused and runs nowhere', async () => {
  const one = schema.open(1)
  const mark = newMark()
  let late: Promise<unknown> = Promise.resolve()
  const after = Promise.withResolvers<void>()
  await one.transaction(async ({ run }) => {
    late = after.promise.then(() => run(insert, [mark]))
    await run('select $1::text', ['x'])
  })
  const other = one.transaction(async ({ run }) => {
    await run('select $1::text', ['x'])
    after.resolve()
    await late.catch(() => undefined)
  })
  expect(await thrownBy(late)).toBeInstanceOf(Error)
  await other
  expect(await marksOf(mark)).toEqual([])
})

test('a statement that nobody awaited cannot slip in behind the commit', async () => {
  const one = schema.open(1)
  const mark = newMark()
  let late: Promise<unknown> | undefined
  await one.transaction(async ({ run, finishWith }) => {
    await run('select $1::text', ['x'])
    finishWith({ text: insert, parameters: [`${mark}x`] })
    setImmediate(() => {
      late = run(insert, [mark]).catch((error: unknown) => error)
    })
  })
  expect(await late).toBeInstanceOf(Error)
  expect(await marksOf(mark, `${mark}x`)).toEqual([`${mark}x`])
})

test('work that throws while its connection is still being reserved gives the connection back', async () => {
  const one = schema.open(1)
  for (let round = 0; round < 3; round += 1) {
    const work = one.transaction(({ run }) => {
      run(insert, [newMark()]).catch(() => undefined)
      return Promise.reject(new Error('on purpose'))
    })
    expect(await messageThrownBy(work)).toContain('on purpose')
  }
  expect(await one.transaction(({ run }) => run('select $1::text as answer', ['x']))).toEqual([{ answer: 'x' }])
})

test('more transactions than connections all commit, each alone on its connection', async () => {
  const two = schema.open(2)
  const marks = Array.from({ length: 40 }, newMark)
  await Promise.all(
    marks.map((mark, index) =>
      two
        .transaction(async ({ run }) => {
          await run(insert, [mark])
          if (index % 4 === 0) throw new Error('on purpose')
          await run('select $1::text', ['x'])
        })
        .catch(() => undefined),
    ),
  )
  expect(await marksOf(...marks)).toEqual(marks.filter((_, index) => index % 4 !== 0).toSorted())
})

test('a database that does not answer is a transient error and not a wait without end', async () => {
  const url = new URL(schema.url)
  url.port = '1'
  const away = openPostgres({ url: url.href, name: 'test', poolSize: 1 })
  const error = await away.transaction(({ run }) => run('select $1', ['x'])).catch((thrown: unknown) => thrown)
  expect(isTransient(error)).toBe(true)
  await away.close(100)
})

test('a list of texts is one parameter, whatever is in them', async () => {
  const texts = ['plain', '', 'a "quoted" one', 'back\\slash', '{braces},commas', 'null', ' spaces ', 'zażółć ☕']
  const rows = await schema.postgres.run('select text from unnest($1::text[]) as text', [textArray(texts)])
  expect(rows.map((row) => row['text'])).toEqual(texts)
})
