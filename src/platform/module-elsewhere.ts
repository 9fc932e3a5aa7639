import { ElsewhereError } from './errors.ts'
import type { HostedModule } from './module.ts'
import type { Tx } from './postgres.ts'
import type { RedisClient } from './redis.ts'
import { type SnapshotReader, createSnapshotReader } from './snapshot-reader.ts'
import type { SnapshotSource } from './snapshots.ts'

export type ModuleElsewhere<Name extends string> = Pick<
  HostedModule<Name>,
  'name' | 'context' | 'findAnswer' | 'keepRefusal' | 'deadLetters' | 'sagas' | 'flow'
> & { snapshots: SnapshotReader }

export type ModuleElsewhereOptions<Name extends string> = {
  name: Name
  redis: RedisClient
  sources: SnapshotSource[]
  /** Whether it is known where the module answers. */
  reachable: boolean
}

export const notHosted = (module: string): ElsewhereError =>
  new ElsewhereError(
    'module-not-hosted',
    `This process does not host ${module}, and knows nobody who does: set ${module.toUpperCase()}_URL to where it answers.`,
  )

/**
 * What is here of a module that another process hosts: its snapshots, which everybody reads from Redis. Its context is for
 * queries. @throws ElsewhereError `module-not-hosted` from everything else, and from `context` when nobody is known who hosts it
 */
export const moduleElsewhere = <Name extends string>(options: ModuleElsewhereOptions<Name>): ModuleElsewhere<Name> => {
  const { name, redis, sources, reachable } = options
  const snapshots = createSnapshotReader({ module: name, redis, sources })
  const refuse = (): never => {
    throw notHosted(name)
  }
  const refused = async () => refuse()
  const ofQueries = {
    transact: refused,
    together: refused,
    read: new Proxy({} as Tx, { get: refuse }),
    snapshots: { ...snapshots, flag: refused },
    newId: refuse,
    now: refuse,
  }
  return {
    name,
    snapshots,
    context: (trace) => (reachable ? { trace, ...ofQueries } : refuse()),
    findAnswer: refused,
    keepRefusal: refused,
    deadLetters: { list: refused, find: refused, redrive: refused, skip: refused },
    flow: refused,
    sagas: { list: refused, find: refused, operate: refused },
  }
}
