import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { postgres as service } from '../../scripts/services/postgres.ts'
import { eventually } from '../test/eventually.ts'
import { type OwnServer, ownServer } from '../test/own-server.ts'
import { openPostgres } from './postgres.ts'

setDefaultTimeout(120_000)

let server: OwnServer

beforeAll(async () => {
  server = await ownServer(service, 'restart')
})

afterAll(() => server.remove())

type Report = { committed: number; failed: number }

/** The load, in a process of its own, so that an error that nobody catches ends that process and is seen. */
const startLoad = (url: string) => {
  const entry = join(import.meta.dir, '../test/transaction-load.ts')
  const child = Bun.spawn([process.execPath, entry, url, '16', '8'], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'inherit',
  })
  const lines = linesOf(child.stdout)
  const next = async () => {
    const { value, done } = await lines.next()
    if (done) throw new Error(`The load ended with code ${await child.exited}.`)
    return JSON.parse(value) as unknown
  }
  return {
    exited: child.exited,
    kill: () => child.kill(),
    report: async () => {
      await child.stdin.write('\n')
      await child.stdin.flush()
      return (await next()) as Report
    },
    stop: async () => {
      await child.stdin.end()
      for (;;) {
        const line = (await next()) as Report | { acknowledged: string[] }
        if ('acknowledged' in line) return line.acknowledged
      }
    },
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  let rest = ''
  for await (const chunk of stream.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

/** How much the load commits while a pool that never saw a restart commits 200 times; no clock is asked. */
const committedMeanwhile = async (report: () => Promise<Report>): Promise<number> => {
  const fresh = openPostgres({ url: server.url, name: 'test-fresh', poolSize: 1 })
  try {
    const before = (await report()).committed
    for (let count = 0; count < 200; count += 1) {
      await fresh.transaction(({ run }) => run('insert into marks (mark) values ($1)', ['fresh']))
    }
    return (await report()).committed - before
  } finally {
    await fresh.close(1_000)
  }
}

test('immediate restarts under load end no process, slow no pool and lose no acknowledged write', async () => {
  const owner = openPostgres({ url: server.url, name: 'test-owner', poolSize: 1 })
  await owner.script('create table marks (mark text not null)')
  await owner.close()
  const load = startLoad(server.url)
  try {
    const advances = async (by: number) => {
      const from = (await load.report()).committed
      await eventually(async () => expect((await load.report()).committed).toBeGreaterThan(from + by), 30_000)
    }
    await advances(100)
    const before = await committedMeanwhile(load.report)
    for (let restart = 0; restart < 3; restart += 1) {
      await server.end('SIGQUIT')
      await server.start()
      await advances(100)
    }
    expect((await load.report()).failed).toBeGreaterThan(0)
    // Connections come back one after the other, each after its back-off; a pool that is left slow never gets there.
    await eventually(async () => expect(await committedMeanwhile(load.report)).toBeGreaterThan(before / 2), 30_000)

    const acknowledged = await load.stop()
    expect(await load.exited).toBe(0)
    const reader = openPostgres({ url: server.url, name: 'test-reader', poolSize: 1 })
    const rows = await reader.run('select mark from marks')
    await reader.close()
    const found = new Set(rows.map((row) => row['mark']))
    expect(acknowledged.filter((mark) => !found.has(mark) || !found.has(`${mark}-first`))).toEqual([])
  } finally {
    load.kill()
  }
})
