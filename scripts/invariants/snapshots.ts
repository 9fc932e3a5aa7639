import type { Invariant } from './invariant.ts'

export const snapshots: Invariant = {
  name: "every snapshot equals what its module's tables say, at the same version",
  check: async ({ hosted }) => {
    const found: string[] = []
    for (const { name, snapshots } of Object.values(hosted)) {
      for (const difference of await snapshots.differences()) found.push(`${name}: ${difference}`)
    }
    return found
  },
}
