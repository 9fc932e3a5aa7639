import { openPostgres } from '#platform/postgres'
import { prune, prunings } from '#platform/retention'

// A process that deletes, in the module of the URL, the answers that are older than twelve hours, and says how many.

const postgres = openPostgres({ url: process.argv[2] ?? '', name: 'test-pruning', poolSize: 1 })
const ageMs = 12 * 3_600_000
const parts = { postgres, now: Date.now(), limit: 1_000 }
for (const pruning of prunings({ inboxMs: ageMs, answersMs: ageMs, endedMs: ageMs }))
  if (pruning.table === 'idempotency_keys') console.log(await prune(pruning, parts))
await postgres.close()
