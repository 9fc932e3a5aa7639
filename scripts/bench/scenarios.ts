import { relay } from './relay.ts'
import type { Scenario } from './scenario.ts'
import { write } from './write.ts'

/** In the order they run. */
export const scenarios: Scenario[] = [write, relay]
