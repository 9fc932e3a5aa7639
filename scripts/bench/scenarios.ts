import { checkouts, orders } from './flows.ts'
import { inbox } from './inbox.ts'
import { latency } from './latency.ts'
import { graphql, snapshot } from './read-side.ts'
import { relay } from './relay.ts'
import type { Scenario } from './scenario.ts'
import { settlements } from './settlement.ts'
import { start } from './start.ts'
import { write } from './write.ts'

/** In the order they run. */
export const scenarios: Scenario[] = [
  write,
  relay,
  inbox,
  latency,
  snapshot,
  graphql,
  orders,
  checkouts,
  settlements,
  start,
]
