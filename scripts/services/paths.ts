import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const root = realpathSync(resolve(import.meta.dir, '../..'))
export const bulkheadFolder = join(root, '.bulkhead')
export const nativeFolder = join(bulkheadFolder, 'native')

/** Tells clones apart where they share a name space: compose projects, folders under /var/tmp. */
export const cloneHash = createHash('sha256').update(root).digest('hex').slice(0, 12)

export const profileFolder = (profile: string) => join(bulkheadFolder, profile)
export const serviceFolder = (profile: string, service: string) => join(bulkheadFolder, profile, service)
export const pidFile = (profile: string, service: string) => join(serviceFolder(profile, service), 'pid')
export const logFile = (profile: string, service: string) => join(bulkheadFolder, profile, `${service}.log`)
