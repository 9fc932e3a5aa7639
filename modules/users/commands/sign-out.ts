import type { Context } from '../context.ts'
import { signOuts } from '../schema.ts'

/** Ends a session: its token is refused from now on, also after Redis was lost. Safe to repeat. */
export const signOut = async (
  context: Context,
  input: { tokenId: string; userId: string; expiresAt: Date },
): Promise<void> => {
  await context.transact(async (tx) => {
    await tx.insert(signOuts).values(input).onConflictDoNothing()
  })
  await context.snapshots.flag('signed-out', input.tokenId, input.expiresAt)
}
