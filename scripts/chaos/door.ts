import { z } from 'zod'
import { sleep } from '#platform/retry'

export type Request = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  path: string
  token?: string | undefined
  /** The Idempotency-Key, the same in every try. */
  key?: string
  body?: unknown
  /** One try is given up after this long. */
  timeoutMs?: number
}

/** `ambiguous`: an earlier try was not answered, so it may have had its effect, or may still have it. */
export type Answer = { status: number; body: unknown; ambiguous: boolean; tries: number }

const problem = z.object({ code: z.string() })

/** The code of a refusal; undefined when there is none. */
export const codeOf = ({ body }: Pick<Answer, 'body'>): string | undefined => problem.safeParse(body).data?.code

/** After this long a process that did not answer is asked again. */
const suspectMs = 1_000

export type Figures = { answered: number; retries: number; unanswered: number; faults: Map<string, number> }

/** Every process as clients see them: one that does not answer is left alone for a while, and another is asked. */
export const createDoor = (urls: string[], gaveUp: AbortSignal) => {
  const suspectUntil = new Map<string, number>()
  const figures: Figures = { answered: 0, retries: 0, unanswered: 0, faults: new Map() }

  const choose = (): string => {
    const now = performance.now()
    const trusted = urls.filter((url) => (suspectUntil.get(url) ?? 0) < now)
    const from = trusted.length > 0 ? trusted : urls
    return from[Math.floor(Math.random() * from.length)] ?? ''
  }

  const once = async ({ method, path, token, key, body, timeoutMs = 3_000 }: Request, url: string) => {
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(key === undefined ? {} : { 'idempotency-key': key }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeoutMs),
    })
    const text = await response.text()
    return { status: response.status, body: text === '' ? undefined : (JSON.parse(text) as unknown) }
  }

  /** Notes an answer that says that the process is in trouble. */
  const fault = (request: Request, status: number) => {
    const route = request.path.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, ':id').replace(/\?.*/, '')
    const what = status === 503 ? '503' : `${status} to ${request.method} ${route}`
    figures.faults.set(what, (figures.faults.get(what) ?? 0) + 1)
  }

  /**
   * Asks until somebody answers with something other than 429 and 5xx, a little later each time. Undefined when the run
   * was given up first.
   */
  const ask = async (request: Request): Promise<Answer | undefined> => {
    let ambiguous = false
    for (let tries = 1; !gaveUp.aborted; tries += 1) {
      const url = choose()
      try {
        const { status, body } = await once(request, url)
        if (status < 500 && status !== 429) return { status, body, ambiguous, tries }
        fault(request, status)
        // A fault says nothing about what was done before it.
        ambiguous = true
      } catch {
        ambiguous = true
        suspectUntil.set(url, performance.now() + suspectMs)
      }
      figures.retries += 1
      await sleep(Math.min(25 * 2 ** tries, 1_000), gaveUp)
    }
    return undefined
  }

  return { ask, once, urls, figures }
}

export type Door = ReturnType<typeof createDoor>
