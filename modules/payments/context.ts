import type { ModuleContext } from '#platform/module'

/** What the payments module needs from outside, one for each request. */
export type Context = ModuleContext<'payments'>
