import { startJob } from '#platform/fan-out'
import { setTimer } from '#platform/timers'
import type { Context } from '../context.ts'
import { settlementChanged, sumSlice } from '../events.ts'
import { type Period, settlementKind, sliceOf, slices } from '../settlement.ts'
import { type SettlementSnapshot, toSettlementSnapshot } from '../settlement-snapshot.ts'
import { settlementDeadline } from '../timers/settlement-deadline.ts'

/** Splits the period into tasks that the workers of every process share. */
export const startSettlement = (context: Context, period: Period): Promise<SettlementSnapshot> =>
  context.transact(async (tx, emit) => {
    const at = context.now()
    const job = await startJob(tx, { id: context.newId(), kind: settlementKind, data: period, total: slices, at })
    await setTimer(tx, settlementDeadline(job.id, context.trace))
    for (let slice = 0; slice < slices; slice += 1) {
      const task = { settlementId: job.id, slice, ...sliceOf(period, slice, slices) }
      emit(sumSlice(job.id, `${job.id}:${slice}`, task))
    }
    emit(settlementChanged(job.id, job.version, { settlementId: job.id, status: job.status }))
    return toSettlementSnapshot(job)
  })
