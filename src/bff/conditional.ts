import type { Context } from 'hono'
import { headersOfData } from './headers.ts'

/** Whether the client names this tag among those that it holds; a weak one counts as well (RFC 9110, 13.1.2). */
const holds = (known: string, tag: string): boolean =>
  known.split(',').some((item) => ['*', tag, `W/${tag}`].includes(item.trim()))

const cached = { 'Cache-Control': 'private, no-cache', Vary: 'Authorization' }
const unchanged = headersOfData(cached)
const changed = headersOfData({ ...cached, 'Content-Type': 'application/json' })

/** The prepared headers with this tag, to be copied at once, which every `Response` does. */
const tagged = (prepared: Headers, tag: string): Headers => {
  prepared.set('ETag', tag)
  return prepared
}

const texts = new WeakMap<object, string>()

/** A snapshot that is frozen is shared by those who read it, and so is its text. */
const textOf = (body: object): string => {
  if (!Object.isFrozen(body)) return JSON.stringify(body)
  const text = texts.get(body) ?? JSON.stringify(body)
  texts.set(body, text)
  return text
}

/**
 * Answers a read with a snapshot, tagged by its version: whoever holds that version already is answered 304 and no body.
 * A cache may keep the answer for this client, and asks each time whether it is still the newest.
 */
export const answerSnapshot = (c: Context, version: number, body: object): Response => {
  const tag = `"${version}"`
  const known = c.req.header('if-none-match')
  if (known !== undefined && holds(known, tag))
    return new Response(null, { status: 304, headers: tagged(unchanged, tag) })
  return new Response(textOf(body), { headers: tagged(changed, tag) })
}
