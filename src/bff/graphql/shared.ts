import type { Call } from '../call.ts'

const underWay = new WeakMap<Call, Map<string, Promise<unknown>>>()

/** Shares work that is under way among the fields of one request that ask for the same thing. */
export const shared = <T>(call: Call, key: string, work: () => Promise<T>): Promise<T> => {
  const works = underWay.get(call) ?? new Map<string, Promise<unknown>>()
  underWay.set(call, works)
  const known = works.get(key) as Promise<T> | undefined
  if (known) return known
  const begun = work().finally(() => works.delete(key))
  works.set(key, begun)
  return begun
}
