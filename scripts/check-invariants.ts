import { StartError } from '#platform/errors'
import { endings } from './invariants/endings.ts'
import type { Invariant } from './invariants/invariant.ts'
import { lag, once, outboxes } from './invariants/messages.ts'
import { money } from './invariants/money.ts'
import { snapshots } from './invariants/snapshots.ts'
import { stock } from './invariants/stock.ts'
import { waitingForOperator } from './invariants/waiting.ts'
import { operate } from './operate/hosted.ts'

/** What holds at rest, whatever crashed on the way. */
export const invariants: Invariant[] = [stock, money, endings, snapshots, outboxes, lag, once]

if (import.meta.main) {
  await operate(async (hosted, app) => {
    let broken = 0
    for (const { name, check } of invariants) {
      const found = await check({ ...app, hosted })
      console.log(`${found.length === 0 ? 'holds ' : 'BROKEN'} ${name}`)
      for (const finding of found) console.log(`         ${finding}`)
      broken += found.length === 0 ? 0 : 1
    }
    const waiting = await waitingForOperator(hosted)
    console.log(`${waiting.length} wait for an operator`)
    for (const line of waiting) console.log(`         ${line}`)
    if (broken > 0) throw new StartError(`${broken} of ${invariants.length} invariants are broken.`)
  })
}
