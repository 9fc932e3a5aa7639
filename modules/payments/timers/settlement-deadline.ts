import { z } from 'zod'
import { expireJob } from '#platform/fan-out'
import type { Trace } from '#platform/messaging/message'
import { type NewTimer, onTimer } from '#platform/timers'
import { settlementChanged } from '../events.ts'
import { addUp } from '../settlement.ts'

const kind = 'settlement-deadline'

const data = z.object({ settlementId: z.uuid() })

const deadlineMs = 10 * 60_000

export const settlementDeadline = (settlementId: string, trace: Trace): NewTimer => ({
  kind,
  key: settlementId,
  inMs: deadlineMs,
  data: { settlementId },
  trace,
})

/** Gives up what has not ended in time: the settlement is failed and reports what it knows. */
export const onSettlementDeadline = onTimer<'payments', z.infer<typeof data>>(
  kind,
  data,
  async ({ tx, emit }, timer) => {
    const { settlementId } = timer.data
    const job = await expireJob(tx, { jobId: settlementId, aggregate: addUp })
    if (job) emit(settlementChanged(job.id, job.version, { settlementId, status: job.status }))
  },
)
