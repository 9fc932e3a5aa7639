import { DomainError, UnavailableError } from '#platform/errors'
import { sleep } from '#platform/retry'
import type { SnapshotReader } from '#platform/snapshot-reader'
import type { SnapshotVersion } from '#platform/snapshots'

/** Names the versions that a command made, for a later read to wait for. */
export const encodeConsistency = (versions: SnapshotVersion[]): string =>
  Buffer.from(
    versions.map(({ module, thing, id, version }) => [module, thing, id, version].join('/')).join(','),
  ).toString('base64url')

const part = /^([a-z-]{1,40})\/([a-z-]{1,40})\/([\w.-]{1,64})\/(\d{1,15})$/

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** A product is named by its SKU, everything else by a UUID. */
const mayName = (thing: string, id: string): boolean => thing === 'product' || uuid.test(id)

/** @throws DomainError `bad-consistency-token` */
export const decodeConsistency = (token: string): SnapshotVersion[] => {
  if (token === '') return []
  const text = Buffer.from(token, 'base64url').toString('utf8')
  return text.split(',', 20).map((item) => {
    const [, module = '', thing = '', id = '', version = ''] = part.exec(item) ?? []
    if (!module || !mayName(thing, id))
      throw new DomainError('bad-consistency-token', 'The Consistency-Token is not one that a command answered with.')
    return { module, thing, id, version: Number(version) }
  })
}

const waitMs = 5_000

/**
 * Resolves when the snapshots hold every version that the token names.
 * @throws UnavailableError after 5 s; DomainError `bad-consistency-token`
 */
export const awaitConsistency = async (
  token: string,
  snapshotsOf: (module: string) => SnapshotReader | undefined,
): Promise<void> => {
  const deadline = performance.now() + waitMs
  for (const { module, thing, id, version } of decodeConsistency(token)) {
    const snapshots = snapshotsOf(module)
    if (!snapshots?.has(thing))
      throw new DomainError('bad-consistency-token', 'The Consistency-Token names something unknown.')
    for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 1.5, 50)) {
      if ((await snapshots.version(thing, id)) >= version) break
      if (performance.now() > deadline)
        throw new UnavailableError('The change that the Consistency-Token names is not visible yet.')
      await sleep(pauseMs)
    }
  }
}
