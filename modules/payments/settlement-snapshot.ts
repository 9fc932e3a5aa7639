import { z } from 'zod'
import { type Job, findJobs } from '#platform/fan-out'
import type { SnapshotSource } from '#platform/snapshots'
import { type Period, type Total, settlementKind, total } from './settlement.ts'

/** A settlement as the query side answers with it, and as Redis holds it under `payments:settlement:<id>`. */
export const settlementSnapshot = z.object({
  id: z.uuid(),
  status: z.enum(['running', 'completed', 'failed']),
  from: z.iso.datetime(),
  to: z.iso.datetime(),
  tasks: z.object({ total: z.int(), done: z.int(), failed: z.int() }),
  totals: z.array(total),
  version: z.int().positive(),
})

export type SettlementSnapshot = z.infer<typeof settlementSnapshot>

export const toSettlementSnapshot = ({
  id,
  status,
  data,
  total,
  done,
  failed,
  result,
  version,
}: Job): SettlementSnapshot => ({
  id,
  status,
  ...(data as Period),
  tasks: { total, done, failed },
  totals: (result as Total[] | null) ?? [],
  version,
})

export const settlementSnapshots: SnapshotSource<SettlementSnapshot> = {
  thing: 'settlement',
  load: async (tx, ids) => (await findJobs(tx, settlementKind, { ids })).map(toSettlementSnapshot),
  page: async (tx, after, limit) => (await findJobs(tx, settlementKind, { after, limit })).map(toSettlementSnapshot),
}
