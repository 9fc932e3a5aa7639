import { StartError } from '#platform/errors'
import { type Hosted, operate } from './operate/hosted.ts'

const usage = `usage: bun run sagas list
       bun run sagas show <id>
       bun run sagas retry <id> [<id> ...]        try the compensation that is stuck again
       bun run sagas skip <id> [<id> ...]         take your word that the stuck step is undone
       bun run sagas compensate <id> [<id> ...]   roll back a saga that is still running`

const [verb = 'list', ...ids] = process.argv.slice(2)

const by = `${process.env['USER'] ?? 'operator'} by bun run sagas`

const list = async (hosted: Hosted) => {
  const rows = []
  for (const { sagas } of Object.values(hosted)) {
    for (const { id, name: saga, error, stuckAt, steps, updatedAt } of await sagas.list({ limit: 1_000 })) {
      const why = steps.find(({ name }) => name === stuckAt)?.error?.message
      rows.push({ id, saga, error: error?.code, stuckAt, why, updatedAt })
    }
  }
  if (rows.length === 0) console.log('No saga waits for an operator.')
  else console.table(rows)
}

const find = async (hosted: Hosted, id: string) => {
  if (!/^[0-9a-f-]{36}$/i.test(id)) throw new StartError(`${id} is not the id of a saga.\n${usage}`)
  for (const { sagas } of Object.values(hosted)) {
    const saga = await sagas.find(id)
    if (saga) return { saga, sagas }
  }
  throw new StartError(`There is no saga ${id}: "bun run sagas list" shows those that wait.`)
}

await operate(async (hosted) => {
  if (verb === 'list') return list(hosted)
  if (!['show', 'retry', 'skip', 'compensate'].includes(verb) || ids.length === 0) throw new StartError(usage)
  for (const id of ids) {
    const { saga, sagas } = await find(hosted, id)
    if (verb === 'show') {
      console.log(JSON.stringify(saga, null, 2))
      continue
    }
    const operation = verb === 'retry' || verb === 'skip' ? verb : 'compensate'
    const trace = { correlationId: saga.correlationId, causationId: Bun.randomUUIDv7() }
    const { status } = await sagas.operate(trace, { id, operation, by })
    console.log(`${id}: ${status}`)
  }
})
