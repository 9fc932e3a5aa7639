import type { Hosted } from '../operate/hosted.ts'

/** What waits for an operator: not a breach, but listed, since the other invariants do not count it. */
export const waitingForOperator = async (hosted: Hosted): Promise<string[]> => {
  const found: string[] = []
  for (const { name, deadLetters } of Object.values(hosted)) {
    for (const { id, consumer, type, code } of await deadLetters.list()) {
      found.push(`${name}: dead letter ${id} of ${consumer}, ${type ?? 'undecodable'}, ${code}`)
    }
  }
  return found
}
