import { type Invariant, broken } from './invariant.ts'

export const snapshots: Invariant = {
  name: "every snapshot equals what its module's tables say, at the same version",
  check: async function* ({ hosted }) {
    for (const { name, snapshots } of Object.values(hosted)) {
      for (const difference of await snapshots.differences()) yield broken(`${name}: ${difference}`)
    }
  },
}
