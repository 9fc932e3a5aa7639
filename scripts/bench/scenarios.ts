import { inbox } from './inbox.ts'
import { latency } from './latency.ts'
import { graphql, snapshot } from './read-side.ts'
import { relay } from './relay.ts'
import type { Scenario } from './scenario.ts'
import { start } from './start.ts'
import { write } from './write.ts'

/** In the order they run. */
export const scenarios: Scenario[] = [write, relay, inbox, latency, snapshot, graphql, start]
