import type { FailureLimit } from '#platform/failure-limit'
import type { ModuleContext } from '#platform/module'
import type { Passwords } from '#platform/passwords'

/** What the users module needs from outside, one for each request. */
export type Context = ModuleContext<'users'> & {
  passwords: Passwords
  /** Failed sign-ins by account. */
  signInFailures: FailureLimit
}
