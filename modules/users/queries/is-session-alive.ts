import type { SnapshotReader } from '#platform/snapshot-reader'
import { decodeUser } from '../snapshot.ts'

/**
 * Whether a token that is valid by its signature still stands for someone: it was not signed out and its account is not
 * closed. An account whose snapshot is not there yet counts as open.
 */
export const isSessionAlive = async (
  { snapshots }: { snapshots: SnapshotReader },
  { tokenId, userId }: { tokenId: string; userId: string },
): Promise<boolean> => {
  const [signedOut, stored] = await snapshots.readAll([
    ['signed-out', tokenId],
    ['user', userId],
  ])
  if (signedOut) return false
  return !stored || decodeUser(stored).status === 'active'
}

/** The snapshots that say whether the session is alive: when it ends, one of them has changed. */
export const sessionSnapshots = ({ tokenId, userId }: { tokenId: string; userId: string }) => [
  { module: 'users', thing: 'signed-out', id: tokenId },
  { module: 'users', thing: 'user', id: userId },
]
