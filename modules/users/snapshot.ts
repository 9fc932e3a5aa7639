import { asc, gt } from 'drizzle-orm'
import { z } from 'zod'
import { decodeOnce } from '#platform/decode'
import type { SnapshotSource } from '#platform/snapshots'
import { signOuts, users } from './schema.ts'
import { findUsers, toUser } from './repository.ts'
import type { User } from './user.ts'

/** A user as the query side answers with it, and as Redis holds it under `users:user:<id>`. */
export const userSnapshot = z.object({
  id: z.uuid(),
  name: z.string().nullable(),
  email: z.string().nullable(),
  status: z.enum(['active', 'closed']),
  version: z.int().positive(),
  createdAt: z.iso.datetime(),
})

export type UserSnapshot = z.infer<typeof userSnapshot>

export const decodeUser = decodeOnce(userSnapshot)

export const toSnapshot = ({ id, name, email, status, version, createdAt }: User): UserSnapshot => ({
  id,
  name,
  email,
  status,
  version,
  createdAt: createdAt.toISOString(),
})

export const userSnapshots: SnapshotSource = {
  thing: 'user',
  load: async (tx, ids) => (await findUsers(tx, ids)).map(toSnapshot),
  page: async (tx, after, limit) => {
    const next = after === undefined ? undefined : gt(users.id, after)
    const rows = await tx.select().from(users).where(next).orderBy(asc(users.id)).limit(limit)
    return rows.map((row) => toSnapshot(toUser(row)))
  },
}

/** The tokens that were signed out, under `users:signed-out:<token id>` until they would have expired anyway. */
export const signOutFlags: SnapshotSource = {
  thing: 'signed-out',
  load: () => Promise.resolve([]),
  page: () => Promise.resolve([]),
  flags: async (tx, now) => {
    const rows = await tx.select().from(signOuts).where(gt(signOuts.expiresAt, now))
    return rows.map(({ tokenId, expiresAt }) => ({ id: tokenId, until: expiresAt }))
  },
}
