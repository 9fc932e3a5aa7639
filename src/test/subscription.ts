import { expect } from 'bun:test'
import { z } from 'zod'
import type { Sent } from './client.ts'
import { eventually } from './eventually.ts'

const result = z.object({
  data: z.record(z.string(), z.unknown()).nullish(),
  errors: z
    .array(z.object({ message: z.string(), extensions: z.looseObject({ code: z.string() }) }))
    .min(1)
    .optional(),
})

export type Result = z.infer<typeof result>

type Asked = { query: string; variables?: Record<string, unknown> } | { documentId: string; variables?: object }

/** Reads what the server sends, as one event after the other: the operation's results, and then that it is complete. */
const read = async (body: ReadableStream<Uint8Array>, results: Result[]): Promise<'complete' | 'cut'> => {
  let text = ''
  const decoder = new TextDecoder()
  for await (const bytes of body) {
    const parts = (text + decoder.decode(bytes, { stream: true })).split('\n\n')
    text = parts.pop() ?? ''
    for (const part of parts) {
      if (part === ':') continue
      const [, event, data = ''] = /^event: (next|complete)\ndata: ?(.*)$/.exec(part) ?? []
      expect({ event, part }).toEqual({ event: expect.any(String), part })
      if (event === 'complete') return 'complete'
      results.push(result.parse(JSON.parse(data)))
    }
  }
  return 'cut'
}

/** Subscribes over SSE, and collects what comes until it ends or `close` is called. */
export const subscribe = async (url: string, asked: Asked, { token, headers, body }: Sent = {}) => {
  const leaving = new AbortController()
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'text/event-stream',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: JSON.stringify(body ?? asked),
    signal: leaving.signal,
  })
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
  const results: Result[] = []
  const ended = read(response.body ?? new ReadableStream(), results).catch(() => 'cut' as const)
  return {
    response,
    results,
    /** How it ended: the server says so, or the connection is cut. */
    ended,
    /** Resolves when the newest result of the field is like this. */
    eventually: (expected: object, timeoutMs = 60_000) =>
      eventually(() => expect(Object.values(results.at(-1)?.data ?? {})[0]).toMatchObject(expected), timeoutMs),
    close: () => leaving.abort(),
  }
}

export type Subscription = Awaited<ReturnType<typeof subscribe>>
