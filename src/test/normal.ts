import type { TopicRecord } from './topic.ts'

const uuid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi
const time = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g
const token = /eyJ[\w-]+\.[\w-]+\.[\w-]+/g

/** What two runs of the same commands have in common: ids are numbered as they appear, times and tokens have no value. */
export const withoutIds = (value: unknown): unknown => {
  const known: string[] = []
  const numbered = (id: string) => {
    if (!known.includes(id)) known.push(id)
    return `#${known.indexOf(id)}`
  }
  const text = JSON.stringify(value).replaceAll(uuid, numbered).replaceAll(time, 'a time').replaceAll(token, 'a token')
  return JSON.parse(text)
}

/** The messages of a run key by key: topic, type, sequence, step and content of each, in their order. */
export const messagesByKey = (records: TopicRecord[], run: string): unknown[] => {
  const keys = new Map<string, unknown[]>()
  const seen = new Set<string>()
  for (const { topic, key, value, headers } of records) {
    const { ce_id: id = '', ce_type: type, ce_sequence: sequence, ce_correlationid: story = '' } = headers
    if (!story.startsWith(`${run}-`) || seen.has(id)) continue
    seen.add(id)
    const message = { topic, type, sequence, step: story.slice(run.length + 1), key, data: JSON.parse(String(value)) }
    keys.set(`${topic} ${key}`, [...(keys.get(`${topic} ${key}`) ?? []), message])
  }
  return [...keys.values()]
    .map(withoutIds)
    .toSorted((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1))
}
