import { openPostgres } from '#platform/postgres'

// A process that writes without pause: `bun src/test/transaction-load.ts <url> <writers> <connections>`. A line on stdin
// asks for what was acknowledged so far; the end of stdin stops it. Nothing here catches what nobody catches.

const [url = '', writers = '', poolSize = ''] = process.argv.slice(2)
const postgres = openPostgres({ url, name: 'test-load', poolSize: Number(poolSize) })
const acknowledged: string[] = []
let failed = 0
const stopping = new AbortController()

const write = async (writer: number) => {
  for (let count = 0; !stopping.signal.aborted; count += 1) {
    const mark = `${writer}-${count}`
    try {
      await postgres.transaction(async ({ run, finishWith }) => {
        await run('insert into marks (mark) values ($1)', [`${mark}-first`])
        await run('select pg_sleep($1::float8)', [0.002])
        finishWith({ text: 'insert into marks (mark) values ($1)', parameters: [mark] })
      })
      acknowledged.push(mark)
    } catch {
      failed += 1
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

const writing = Promise.all(Array.from({ length: Number(writers) }, (_, writer) => write(writer)))
for await (const _ of console) console.log(JSON.stringify({ committed: acknowledged.length, failed }))
stopping.abort()
await writing
await postgres.close()
console.log(JSON.stringify({ acknowledged }))
