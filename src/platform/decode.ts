import type { z } from 'zod'

/**
 * Decodes JSON by a schema, and remembers the last `remembered` texts with what they came to: a snapshot is read far more
 * often than it changes, and one request may read it twice. What it answers is shared, so it must not be changed.
 * @throws when the text is not JSON or does not fit
 */
export const decodeOnce = <Value extends object>(
  schema: z.ZodType<Value>,
  remembered = 1_000,
): ((text: string) => Readonly<Value>) => {
  const known = new Map<string, Readonly<Value>>()
  return (text) => {
    const found = known.get(text)
    if (found) return found
    const value = Object.freeze(schema.parse(JSON.parse(text)))
    if (known.size >= remembered) known.delete(known.keys().next().value ?? '')
    known.set(text, value)
    return value
  }
}
