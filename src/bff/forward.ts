import { Hono, type HonoRequest } from 'hono'
import { ElsewhereError } from '#platform/errors'
import { notHosted } from '#platform/module-elsewhere'
import type { Call, Env } from './call.ts'
import { type ModuleName, owners } from './owners.ts'
import { preferredSeconds } from './prefer.ts'

/** A module that another process hosts, where that one answers, when it is known, and how long it may take. */
export type Elsewhere = { name: ModuleName; address: string | undefined; timeoutMs: number }

/** A request of a client, as it came. */
export type Incoming = { req: Pick<HonoRequest, 'raw' | 'path' | 'arrayBuffer'>; var: { call: Call } }

export type Asked = { method: string; path: string; headers: Headers; body?: string | ArrayBuffer }

/** What belongs to a connection and not to what is sent on it; the length is counted anew. */
const ofConnection = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'host',
  'content-length',
]

/** Our name in the `Via` header (RFC 9110, 7.6.3), by which a request that was sent on once is known. */
const via = '1.1 bulkhead'

/** Whether another process of this system has sent the request here: it is not sent on again. */
export const wasForwarded = (headers: Headers): boolean => headers.get('via')?.split(/ *, */).includes(via) ?? false

/**
 * Sends a request to the process that hosts the module and gives its whole answer, whatever it says.
 * @throws ElsewhereError `module-not-hosted` when nobody is known who hosts it, or the request comes from another process;
 * `module-not-answering` when they do not answer in time or the connection fails: what was asked may have been done
 */
export const ask = async (
  { name, address, timeoutMs }: Elsewhere,
  { method, path, headers, body }: Asked,
): Promise<Response> => {
  if (address === undefined || wasForwarded(headers)) throw notHosted(name)
  const sent = onward(headers)
  sent.append('via', via)
  try {
    const answer = await fetch(`${address}${path}`, {
      method,
      headers: sent,
      ...(body === undefined ? {} : { body }),
      redirect: 'manual',
      decompress: false,
      // A connection that was kept may be dead, and nobody could tell whether a command had arrived on it.
      keepalive: method === 'GET',
      signal: AbortSignal.timeout(timeoutMs),
    })
    const content = await answer.arrayBuffer()
    return new Response(content.byteLength === 0 ? null : content, {
      status: answer.status,
      headers: onward(answer.headers),
    })
  } catch (cause) {
    const message = `The process that hosts ${name} does not answer. Try again.`
    throw new ElsewhereError('module-not-answering', message, { cause })
  }
}

/**
 * Sends the client's request on as it came, under the name of its story. Who prefers to wait may take that much longer, and
 * holds no place meanwhile; when too many do, the other side is not told of it. @throws ElsewhereError
 */
export const forward = async ({ req, var: { call } }: Incoming, elsewhere: Elsewhere): Promise<Response> => {
  const { method, url, headers: given } = req.raw
  const headers = new Headers(given)
  headers.set('correlation-id', call.trace.correlationId)
  addPeer(headers, call)
  const { pathname, search } = new URL(url)
  const body = await req.arrayBuffer()
  const asked = { method, path: pathname + search, headers, ...(body.byteLength > 0 && { body }) }
  const seconds = preferredSeconds(given.get('prefer') ?? undefined)
  const patient = { ...elsewhere, timeoutMs: elsewhere.timeoutMs + seconds * 1_000 }
  const answer = seconds === 0 ? undefined : await call.waits.load.aside(() => ask(patient, asked))
  if (answer) return answer
  headers.delete('prefer')
  return ask(elsewhere, asked)
}

/** The headers of a request that is made for a client's: whose it is, its key, its story, and whether it was sent on. */
export const onBehalfOf = (given: Headers, call: Call): Headers => {
  const headers = new Headers({
    'correlation-id': call.trace.correlationId,
    accept: 'application/json',
    'accept-encoding': 'identity',
  })
  for (const name of ['authorization', 'idempotency-key', 'traceparent', 'via', 'x-forwarded-for']) {
    const value = given.get(name)
    if (value !== null) headers.set(name, value)
  }
  addPeer(headers, call)
  return headers
}

/** The routes of modules that other processes host. */
export const forwardedRoutes = (elsewhere: Elsewhere[]) => {
  const router = new Hono<Env>()
  for (const module of elsewhere) {
    for (const route of owners[module.name].routes) router.all(`${route}/*`, (c) => forward(c, module))
  }
  return router
}

/** Says where the request came from, after what was said of it before. */
const addPeer = (headers: Headers, call: Call): void => {
  const peer = call.peer()
  if (peer !== undefined) headers.append('x-forwarded-for', peer)
}

const onward = (headers: Headers): Headers => {
  const kept = new Headers(headers)
  const named = headers.get('connection')?.split(/ *, */) ?? []
  for (const name of [...ofConnection, ...named]) if (/^[\w-]+$/.test(name)) kept.delete(name)
  return kept
}
