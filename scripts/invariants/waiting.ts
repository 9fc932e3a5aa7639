import { type Invariant, type Sources, type Waiting, apart, broken, pages, text } from './invariant.ts'

const parked = `select id, consumer, key, type, code, encode(value, 'base64') as value from dead_letters
  where status = 'parked' and id > $1 order by id limit $2`

const stuck = `select id, name, reply_key, state->'error'->>'code' as code from sagas
  where status = 'needs-operator' and id > $1 order by id limit $2`

const uuid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

/** Reads every parked message and every saga that is stuck. */
export const readWaiting = async ({ databases }: Pick<Sources, 'databases'>): Promise<Waiting> => {
  const lines: string[] = []
  const ids = new Set<string>()
  for (const [module, { run }] of Object.entries(databases)) {
    for await (const rows of pages(run, parked, { size: 500 })) {
      for (const row of rows) {
        const [key, type] = [text(row, 'key'), row['type'] ?? 'undecodable']
        lines.push(
          `${module}: dead letter ${text(row, 'id')} of ${text(row, 'consumer')}, key ${key}: ${type}, ${text(row, 'code')}`,
        )
        const said = `${key} ${Buffer.from(text(row, 'value'), 'base64').toString()}`
        for (const [id] of said.toLowerCase().matchAll(uuid)) ids.add(id)
      }
    }
    for await (const rows of pages(run, stuck)) {
      for (const row of rows) {
        const [id, key] = [text(row, 'id'), text(row, 'reply_key')]
        lines.push(`${module}: ${text(row, 'name')} ${id}, for ${key}: ${text(row, 'code')}`)
        ids.add(id).add(key.toLowerCase())
      }
    }
  }
  return { lines, ids, about: (...about) => about.some((id) => id && ids.has(id)) }
}

const unlisted = `select id, name, status, state->>'status' as told from sagas where status <> state->>'status' order by id limit 1000`

export const listed: Invariant = {
  name: 'what waits for an operator is listed',
  check: async function* ({ databases }, { lines }) {
    for (const line of lines) yield apart(line)
    for (const { run } of Object.values(databases)) {
      for (const row of await run(unlisted)) {
        yield broken(
          `${text(row, 'name')} ${text(row, 'id')} is listed as ${text(row, 'status')} and is ${text(row, 'told')}`,
        )
      }
    }
  },
}
