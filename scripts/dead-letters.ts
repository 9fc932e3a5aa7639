import { StartError } from '#platform/errors'
import { type Hosted, operate } from './operate/hosted.ts'

const usage = `usage: bun run dead-letters list [--all]
       bun run dead-letters show <id>
       bun run dead-letters redrive [--force] <id> [<id> ...]
       bun run dead-letters skip <id> [<id> ...]`

const [verb = 'list', ...rest] = process.argv.slice(2)

const by = `${process.env['USER'] ?? 'operator'} by bun run dead-letters`

const list = async (hosted: Hosted) => {
  const rows = []
  for (const { deadLetters } of Object.values(hosted)) {
    for (const letter of await deadLetters.list({ all: rest.includes('--all'), limit: 1_000 })) {
      const { id, consumer, key, sequence, type, code, status, parkedAt } = letter
      rows.push({ id, consumer, key, sequence, type, code, status, parkedAt })
    }
  }
  if (rows.length === 0) console.log('No message is parked.')
  else console.table(rows)
}

/** The dead letters of the module that holds this id. */
const ownerOf = async (hosted: Hosted, id: string) => {
  if (!/^[0-9a-f-]{36}$/i.test(id)) throw new StartError(`${id} is not the id of a dead letter.\n${usage}`)
  for (const { deadLetters } of Object.values(hosted)) {
    const letter = await deadLetters.find(id)
    if (letter) return { letter, deadLetters }
  }
  throw new StartError(`There is no dead letter ${id}: "bun run dead-letters list --all" shows them.`)
}

await operate(async (hosted) => {
  if (verb === 'list') return list(hosted)
  const ids = rest.filter((word) => word !== '--force')
  const force = rest.includes('--force')
  if (!['show', 'redrive', 'skip'].includes(verb) || ids.length === 0) throw new StartError(usage)
  for (const id of ids) {
    const { letter, deadLetters } = await ownerOf(hosted, id)
    if (verb === 'show') console.log(JSON.stringify(letter, null, 2))
    else {
      const { status, consumer } = await (verb === 'redrive'
        ? deadLetters.redrive(id, { by, force })
        : deadLetters.skip(id, { by }))
      console.log(`${id} of ${consumer}: ${status}`)
    }
  }
})
