import { createRoute } from '@hono/zod-openapi'
import { type SettlementSnapshot, getSettlement, settlementSnapshot, startSettlement } from '#modules/payments'
import type { SnapshotVersion } from '#platform/snapshots'
import type { BffOptions } from './bff.ts'
import { type Call } from './call.ts'
import { refuseCustomer, requireOperator } from './dead-letters.ts'
import { settlementInput } from './inputs.ts'
import { type Answer, once } from './once.ts'
import { bearer, changed, createRouter, idParameter, jsonBody, problems } from './openapi.ts'

const settlement = settlementSnapshot.omit({ version: true }).openapi('Settlement')

const tags = ['settlements']

const start = createRoute({
  method: 'post',
  path: '/settlements',
  tags,
  summary: 'Settle the period [from, to)',
  security: bearer,
  request: jsonBody(settlementInput),
  responses: { 202: changed('Running; Location is the settlement', settlement), ...problems(400, 401, 403, 413, 422) },
})

const read = createRoute({
  method: 'get',
  path: '/settlements/{id}',
  tags,
  summary: 'Read a settlement and its progress',
  security: bearer,
  request: { params: idParameter },
  responses: {
    200: { description: 'The settlement', content: { 'application/json': { schema: settlement } } },
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

const versionOf = ({ id, version }: SettlementSnapshot): SnapshotVersion => ({
  module: 'payments',
  thing: 'settlement',
  id,
  version,
})

/** Records the version that a command made, for the Consistency-Token. */
export const noteSettlement = (call: Call, settlement: SettlementSnapshot): void =>
  void call.changed.push(versionOf(settlement))

const answer = (snapshot: SettlementSnapshot): Answer => ({
  status: 202,
  body: toSettlement(snapshot),
  location: `/settlements/${snapshot.id}`,
  changed: [versionOf(snapshot)],
})

export const settlementRoutes = ({ modules }: BffOptions) =>
  createRouter()
    .openapi(start, async (c) => {
      const call = c.get('call')
      const identity = await requireOperator(call)
      const { from, to } = c.req.valid('json')
      const input = { from: new Date(from).toISOString(), to: new Date(to).toISOString() }
      const run = (context: typeof call.payments) => startSettlement(context, input)
      return once(c, { call, identity, module: modules.payments, input, run, answer }) as never
    })
    .openapi(read, async (c) => c.json(toSettlement(await readSettlement(c.get('call'), c.req.valid('param').id)), 200))
