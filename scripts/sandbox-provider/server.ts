import { type Ledger, type Made, openLedger } from './ledger.ts'
import { Refusal } from './refusal.ts'
import {
  chargeBody,
  decodeBody,
  decodeQuery,
  idempotencyKeyOf,
  isToken,
  keyQuery,
  ledgerQuery,
  refundBody,
  type Token,
  totalsQuery,
} from './requests.ts'
import type { Charge, Refund } from './tables.ts'

const slowMs = 2_000

/** No body of this API comes near it; a larger one is cut off while it is read. */
const hardBodyLimitBytes = 1024 * 1024

const refuse = ({ status, code, message }: Refusal) => Response.json({ error: { code, message } }, { status })

const answer = <Thing>(made: Made<Thing>): Response => {
  if ('refusal' in made) return refuse(made.refusal)
  const headers = made.replayed ? { 'idempotent-replayed': 'true' } : undefined
  return Response.json(made.thing, { status: 201, ...(headers && { headers }) })
}

/** Closes the connection without a byte: a body that errs before it begins. Without an error, for there is none to print. */
const cutConnection = () => new Response(new ReadableStream({ start: (controller) => controller.error() }))

/** Until two seconds after the capture: a repeat of a slow call waits for the same answer. */
const slowness = ({ createdAt }: Charge) => Bun.sleep(Math.min(slowMs, Date.parse(createdAt) + slowMs - Date.now()))

const answerAs = async (token: Token, made: Made<Charge>): Promise<Response> => {
  if ('refusal' in made) return answer(made)
  if (token === 'tok_lost' && !made.replayed) return cutConnection()
  if (token === 'tok_slow') await slowness(made.thing)
  return answer(made)
}

const found = (thing: Charge | Refund | undefined): Response => {
  if (thing === undefined) throw new Refusal(404, 'not-found', 'No call with this key has had an outcome.')
  return Response.json(thing)
}

const routesOf = (ledger: Ledger) => ({
  '/charges': {
    POST: async (request: Request) => {
      const key = idempotencyKeyOf(request)
      const body = await decodeBody(chargeBody, request)
      const { token } = body
      if (!isToken(token)) throw new Refusal(422, 'unknown-token', 'The sandbox does not know this token.')
      return answerAs(token, await ledger.charge(key, token, body))
    },
    GET: (request: Request) => found(ledger.chargeOf(decodeQuery(keyQuery, request).key)),
  },
  '/refunds': {
    POST: async (request: Request) => {
      const key = idempotencyKeyOf(request)
      return answer(await ledger.refund(key, await decodeBody(refundBody, request)))
    },
    GET: (request: Request) => found(ledger.refundOf(decodeQuery(keyQuery, request).key)),
  },
  '/ledger': {
    GET: (request: Request) => {
      const { after, limit } = decodeQuery(ledgerQuery, request)
      return Response.json(ledger.page(after, limit))
    },
  },
  '/ledger/totals': {
    GET: (request: Request) => {
      const { from = 0, to = Number.MAX_SAFE_INTEGER } = decodeQuery(totalsQuery, request)
      return Response.json({ totals: ledger.totals(from, to) })
    },
  },
  '/health': { GET: () => Response.json({ status: 'ok' }) },
})

const asAnswer = (error: unknown): Response => {
  if (error instanceof Refusal) return refuse(error)
  console.error(error)
  return refuse(new Refusal(500, 'internal-error', 'Something went wrong; the same call may be made again.'))
}

export type ProviderOptions = { hostname: string; port: number; file: string }

/**
 * The sandbox payment provider: an HTTP API in front of a ledger of its own in the SQLite file `file`.
 *
 * | call | answer |
 * | --- | --- |
 * | `POST /charges` `{token, amount, currency, reference}` | 201 `{id, status: captured\|declined, amount, currency, reference, declineCode, createdAt}`; 422 `unknown-token` |
 * | `POST /refunds` `{charge, amount, reference}` | 201 `{id, charge, amount, currency, status: refunded, reference, createdAt}`; 404 `charge-not-found`; 422 `exceeds-charge`, `not-captured` |
 * | `GET /charges?key=`, `GET /refunds?key=` | 200 what came of the call with this idempotency key; 404 when nothing did |
 * | `GET /ledger?after=&limit=` | 200 `{items: [{sequence, kind: capture\|refund, id, charge, amount, currency, reference, at}], nextCursor}`, oldest first; `after` is a sequence, `limit` 1 to 10,000 (100) |
 * | `GET /ledger/totals?from=&to=` | 200 `{totals: [{currency, captured, refunded, payments}]}` over `[from, to)`; without one, that side is open |
 * | `GET /health` | 200 |
 *
 * Both POSTs need an `Idempotency-Key` (400 `idempotency-key-required`), scoped to the route. The same key and body give the
 * first answer again, 201, with `Idempotent-Replayed: true`; another body gives 422 `idempotency-key-reused`; a refused call that
 * gave 4xx or 5xx has had no effect and may be made again. Amounts are integers in minor units from 1 to 2^53 - 1, times RFC 3339,
 * errors `{error: {code, message}}`: 400 `invalid-json`, `invalid-request`, 413 `body-too-large`.
 *
 * Tokens: `tok_visa` captures; `tok_declined` declines; `tok_flaky` gives 503 to the first two calls of each key, then captures;
 * `tok_slow` captures at once and answers two seconds later; `tok_lost` captures and cuts the connection of that first call.
 */
export const startProvider = ({ hostname, port, file }: ProviderOptions) => {
  const ledger = openLedger(file)
  const routes = routesOf(ledger)
  type Handlers = Partial<Record<string, (request: Request) => Response | Promise<Response>>>
  const handlersOf = new Map<string, Handlers>(Object.entries(routes))
  const server = Bun.serve({
    hostname,
    port,
    maxRequestBodySize: hardBodyLimitBytes,
    fetch: async (request) => {
      const handlers = handlersOf.get(new URL(request.url).pathname)
      try {
        if (!handlers) throw new Refusal(404, 'not-found', 'There is no such route.')
        const handle = handlers[request.method]
        if (!handle) throw new Refusal(405, 'method-not-allowed', `Use ${Object.keys(handlers).join(' or ')}.`)
        return await handle(request)
      } catch (error) {
        return asAnswer(error)
      }
    },
  })
  return {
    url: server.url.origin,
    /** Lets the calls under way end, the slow ones too. */
    stop: async () => {
      await Promise.race([server.stop(), Bun.sleep(slowMs + 1_000)])
      await server.stop(true)
      ledger.close()
    },
  }
}
