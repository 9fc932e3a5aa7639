import { createRoute } from '@hono/zod-openapi'
import { type SettlementSnapshot, getSettlement, settlementSnapshot, startSettlement } from '#modules/payments'
import type { Keep } from '#platform/messaging/outbox'
import type { SnapshotVersion } from '#platform/snapshots'
import type { BffOptions } from './bff.ts'
import { forOperators, refuseCustomer } from './access.ts'
import type { Call } from './call.ts'
import { answerSnapshot } from './conditional.ts'
import { settlementExample } from './examples.ts'
import { settlementInput } from './inputs.ts'
import { type Answer, once } from './once.ts'
import {
  bearer,
  cacheableById,
  conditionally,
  createRouter,
  created,
  jsonBody,
  problems,
  readId,
  repeatable,
} from './openapi.ts'

const settlement = settlementSnapshot.omit({ version: true }).openapi('Settlement', { example: settlementExample })

const tags = ['settlements']

const start = createRoute({
  method: 'post',
  path: '/settlements',
  tags,
  summary: 'Settle the period [from, to)',
  ...forOperators,
  ...repeatable,
  request: jsonBody(settlementInput),
  responses: {
    202: created('Running; Location is the settlement', settlement),
    ...problems(400, 401, 403, 408, 413, 415, 422),
  },
})

const read = createRoute({
  method: 'get',
  path: '/settlements/{id}',
  tags,
  summary: 'Read a settlement and its progress',
  security: bearer,
  ...cacheableById,
  responses: {
    ...conditionally('The settlement', settlement),
    ...problems(400, 401, 403, 404),
  },
})

/** A settlement as clients see it. */
export const toSettlement = ({ id, status, from, to, tasks, totals }: SettlementSnapshot) => ({
  id,
  status,
  from,
  to,
  tasks,
  totals,
})

/** @throws DomainError `unauthenticated`, `forbidden`, `settlement-not-found` */
export const readSettlement = (call: Call, id: string): Promise<SettlementSnapshot> =>
  call.query((identity) => {
    refuseCustomer(identity)
    return getSettlement(call.payments, id)
  })

/** What starting a settlement changed, for the Consistency-Token. */
export const versionsOfSettlement = ({ id, version }: SettlementSnapshot): SnapshotVersion[] => [
  { module: 'payments', thing: 'settlement', id, version },
]

const answer = (snapshot: SettlementSnapshot): Answer => ({
  status: 202,
  body: toSettlement(snapshot),
  location: `/settlements/${snapshot.id}`,
  changed: versionsOfSettlement(snapshot),
})

export const settlementRoutes = ({ modules }: BffOptions) => {
  const module = modules.payments
  return createRouter()
    .openapi(start, async (c) => {
      const { call, identity } = c.var
      const { from, to } = c.req.valid('json')
      const input = { from: new Date(from).toISOString(), to: new Date(to).toISOString() }
      const run = (keep?: Keep) => startSettlement(module.context(call.trace, keep), input)
      return once(c, { call, identity, input, module, run, answer }) as never
    })
    .openapi(read, async (c) => {
      const found = await readSettlement(c.get('call'), readId(c))
      return answerSnapshot(c, found.version, toSettlement(found))
    })
}
