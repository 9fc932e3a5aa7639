import type { JsonSchema } from '#platform/messaging/catalogue'

/** A type of message as it was published: those who read it count on every word of this. */
export type PublishedType = { topic: string; schema: JsonSchema }

/** The published types by their names. */
export type Published = Record<string, PublishedType>

/** What a change would do to readers that run, or to messages that are stored; `at` is the field. */
export type Breach = { type: string; at: string; what: string }

/** Words for people: they may change. */
const words = new Set(['$schema', 'description', 'title', 'examples', 'default', 'deprecated'])

/**
 * What of a published type has been taken away or changed. Only fields that may be left out can be added: readers of the release
 * before read the new messages, and those of this one read the old, which may be a week old, or held for an operator.
 */
export const breachesOf = (published: Published, current: Published): Breach[] =>
  Object.entries(published).flatMap(([type, was]) => {
    const is = current[type]
    if (!is) return [{ type, at: '', what: 'the type was removed' }]
    const moved = is.topic === was.topic ? [] : [{ at: '', what: `moved from ${was.topic} to ${is.topic}` }]
    return [...moved, ...differences(was.schema, is.schema, '')].map((difference) => ({ type, ...difference }))
  })

/** The types, and the fields of types, that are not published yet. */
export const additionsOf = (published: Published, current: Published): string[] =>
  Object.entries(current)
    .filter(([type, is]) => !Bun.deepEquals(published[type], is))
    .map(([type]) => type)

type Difference = Omit<Breach, 'type'>

const differences = (was: JsonSchema, is: JsonSchema, at: string): Difference[] => {
  if (!Bun.deepEquals(was['type'], is['type'])) {
    return [{ at, what: `its type was ${shown(was['type'])} and is ${shown(is['type'])}` }]
  }
  const keywords = new Set([...Object.keys(was), ...Object.keys(is)])
  return [...keywords].flatMap((keyword) => {
    if (words.has(keyword) || keyword === 'required') return []
    if (keyword === 'properties') return fieldDifferences(was, is, at)
    const [before, after] = [was[keyword], is[keyword]]
    if (keyword === 'items' && isSchema(before) && isSchema(after)) return differences(before, after, `${at}[]`)
    if (keyword === 'enum') return enumDifferences(before, after, at)
    return Bun.deepEquals(before, after)
      ? []
      : [{ at, what: `its ${keyword} was ${shown(before)} and is ${shown(after)}` }]
  })
}

const fieldDifferences = (was: JsonSchema, is: JsonSchema, at: string): Difference[] => {
  const [before, after] = [fieldsOf(was), fieldsOf(is)]
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].flatMap((name): Difference[] => {
    const [old, now] = [before[name], after[name]]
    const field = at === '' ? name : `${at}.${name}`
    const [wasRequired, isRequired] = [requires(was, name), requires(is, name)]
    if (!now) return [{ at: field, what: 'the field was removed' }]
    if (!old) return isRequired ? [{ at: field, what: 'the field is new and required: older messages lack it' }] : []
    const presence = wasRequired === isRequired ? [] : [{ at: field, what: presenceOf(isRequired) }]
    return [...presence, ...differences(old, now, field)]
  })
}

const presenceOf = (isRequired: boolean): string =>
  isRequired
    ? 'the field was optional and is required: older messages may lack it'
    : 'the field was required and is optional: readers count on it'

const enumDifferences = (before: unknown, after: unknown, at: string): Difference[] => {
  const [was, is] = [valuesOf(before), valuesOf(after)]
  const [gone, added] = [was.filter((value) => !is.includes(value)), is.filter((value) => !was.includes(value))]
  return [
    ...(gone.length > 0
      ? [{ at, what: `no longer takes ${gone.map(shown).join(', ')}, which older messages may hold` }]
      : []),
    ...(added.length > 0 ? [{ at, what: `may be ${added.map(shown).join(', ')} now, which readers refuse` }] : []),
  ]
}

const isSchema = (value: unknown): value is JsonSchema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const fieldsOf = ({ properties }: JsonSchema): Record<string, JsonSchema> =>
  isSchema(properties) ? (properties as Record<string, JsonSchema>) : {}

const requires = ({ required }: JsonSchema, name: string): boolean => Array.isArray(required) && required.includes(name)

const valuesOf = (values: unknown): unknown[] => (Array.isArray(values) ? values : [])

const shown = (value: unknown): string => JSON.stringify(value) ?? 'free'
