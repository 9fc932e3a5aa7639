import { DomainError } from '#platform/errors'
import type { Context } from '../context.ts'
import { type SettlementSnapshot, settlementSnapshot } from '../settlement-snapshot.ts'

/** Reads the snapshot. @throws DomainError `settlement-not-found`; UnavailableError while snapshots are rebuilt */
export const getSettlement = async (
  { snapshots }: Pick<Context, 'snapshots'>,
  id: string,
): Promise<SettlementSnapshot> => {
  const stored = await snapshots.read('settlement', id)
  if (stored === null) throw new DomainError('settlement-not-found', 'Settlement not found')
  return settlementSnapshot.parse(JSON.parse(stored))
}
