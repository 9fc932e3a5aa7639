import { createHmac } from 'node:crypto'
import type { moduleRoles } from './settings.ts'

/**
 * The same server and database as a module's role. The password follows from the owner's: roles are one for a whole
 * server, so everything that uses the same owner has to arrive at the same password, test runs side by side included.
 */
export const moduleUrl = (ownerUrl: string, role: (typeof moduleRoles)[number]): string => {
  const url = new URL(ownerUrl)
  const key = decodeURIComponent(url.password)
  url.password = createHmac('sha256', key).update(`bulkhead role ${role}`).digest('base64url')
  url.username = role
  return url.href
}

/** The same server and account, another database. */
export const inDatabase = (serverUrl: string, database: string): string => {
  const url = new URL(serverUrl)
  url.pathname = `/${database}`
  return url.href
}
