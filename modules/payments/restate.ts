import { findJobs } from '#platform/fan-out'
import type { Restating } from '#platform/republish'
import { paymentRestated, settlementRestated } from './events.ts'
import { lockPayments } from './repository.ts'
import { settlementKind } from './settlement.ts'
import { toSettlementSnapshot } from './settlement-snapshot.ts'

const restatePayments: Restating<'payments'> = {
  thing: 'payments',
  rows: { table: 'payments', id: 'id', sequence: 'version' },
  events: async (tx, ids) =>
    [...(await lockPayments(tx, ids)).values()].map((payment) => {
      const { id, version, orderId, userId, status, amount, capturedAt, refundedAt } = payment
      return paymentRestated(id, version, {
        paymentId: id,
        orderId,
        userId,
        status,
        ...amount,
        capturedAt: capturedAt?.toISOString() ?? null,
        refundedAt: refundedAt?.toISOString() ?? null,
      })
    }),
}

const restateSettlements: Restating<'payments'> = {
  thing: 'settlements',
  rows: { table: 'jobs', id: 'id', sequence: 'version', where: `kind = '${settlementKind}'` },
  events: async (tx, ids) =>
    (await findJobs(tx, settlementKind, { ids })).map(toSettlementSnapshot).map(({ id, version, ...settlement }) => {
      const { status, from, to, totals } = settlement
      return settlementRestated(id, version, { settlementId: id, status, from, to, totals })
    }),
}

export const restating = [restatePayments, restateSettlements]
