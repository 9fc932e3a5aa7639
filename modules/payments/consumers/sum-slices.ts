import { sql } from 'drizzle-orm'
import { messageOf } from '#platform/errors'
import { endTask } from '#platform/fan-out'
import { type ConsumerDefinition, onEach } from '#platform/messaging/consumer'
import type { Tx } from '#platform/postgres'
import { paymentTasks, settlementChanged, sumSlice } from '../events.ts'
import { type Period, type Total, addUp } from '../settlement.ts'

/** What was captured and refunded within the period, per currency. */
export const sumPayments = async (tx: Pick<Tx, 'execute'>, { from, to }: Period): Promise<Total[]> => {
  const rows = await tx.execute(sql`
    select currency, sum(captured)::text, sum(refunded)::text, sum(payments)::text from (
      select currency, amount as captured, 0 as refunded, 1 as payments from payments
        where captured_at >= ${from} and captured_at < ${to}
      union all
      select currency, 0, amount, 0 from payments where refunded_at >= ${from} and refunded_at < ${to}
    ) as moved group by currency order by currency`)
  return (rows as unknown as [string, string, string, string][]).map(([currency, captured, refunded, payments]) => ({
    currency,
    captured: Number(captured),
    refunded: Number(refunded),
    net: Number(captured) - Number(refunded),
    payments: Number(payments),
  }))
}

/** Works on the parts of settlements; a part that fails for good is reported as failed rather than forgotten. */
export const sumSlices: ConsumerDefinition<'payments'> = {
  topic: paymentTasks,
  handlers: [
    onEach<'payments', Task>(
      sumSlice,
      async ({ tx, emit }, { data: { settlementId, slice, from, to } }) => {
        const result = await sumPayments(tx, { from, to })
        const job = await endTask(tx, {
          jobId: settlementId,
          task: slice,
          ending: { status: 'done', result },
          aggregate: addUp,
        })
        if (job) emit(settlementChanged(job.id, job.version, { settlementId, status: job.status }))
      },
      async ({ tx, emit }, { data: { settlementId, slice } }, error) => {
        const ending = { status: 'failed', error: messageOf(error) } as const
        const job = await endTask(tx, { jobId: settlementId, task: slice, ending, aggregate: addUp })
        if (job) emit(settlementChanged(job.id, job.version, { settlementId, status: job.status }))
      },
    ),
  ],
}

type Task = { settlementId: string; slice: number; from: string; to: string }
