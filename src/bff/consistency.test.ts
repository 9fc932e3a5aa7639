import { describe, expect, test } from 'bun:test'
import * as fc from 'fast-check'
import type { SnapshotVersion, Snapshots } from '#platform/snapshots'
import { awaitConsistency, decodeConsistency, encodeConsistency } from './consistency.ts'

const id = '0198c0de-0000-7000-8000-000000000001'
const user = (version: number): SnapshotVersion => ({ module: 'users', thing: 'user', id, version })

const bad = expect.objectContaining({ code: 'bad-consistency-token' })

/** Snapshots that answer with one version after the other, and say which were asked for. */
const answering = (...versions: number[]) => {
  const asked: string[] = []
  const snapshots: Pick<Snapshots, 'has' | 'version'> = {
    has: (thing) => thing === 'user',
    version: (_, askedId) => {
      asked.push(askedId)
      return Promise.resolve(versions[asked.length - 1] ?? versions.at(-1) ?? 0)
    },
  }
  return { asked, of: (module: string) => (module === 'users' ? (snapshots as Snapshots) : undefined) }
}

describe('a token', () => {
  test('gives back what a command changed', () => {
    const versions = fc.array(
      fc.record({
        module: fc.constantFrom('users', 'orders'),
        thing: fc.constantFrom('user', 'signed-out'),
        id: fc.uuid(),
        version: fc.nat(),
      }),
      { minLength: 1, maxLength: 20 },
    )
    fc.assert(
      fc.property(versions, (changed) => expect(decodeConsistency(encodeConsistency(changed))).toEqual(changed)),
    )
  })

  test('fits a header, whatever it names', () => {
    expect(encodeConsistency([user(1), user(2_000_000_000)])).toMatch(/^[\w-]+$/)
  })

  test('that no command made is refused, whatever it holds', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 3 }), (text) => {
        expect(() => decodeConsistency(Buffer.from(text).toString('base64url'))).toThrow(bad)
      }),
    )
    for (const token of ['!', '=', 'a']) expect(() => decodeConsistency(token)).toThrow(bad)
    for (const text of [
      'users/user',
      `users/user/${id}`,
      `users/user/${id}/-1`,
      `users/user/${id}/1/2`,
      ',',
      'a/b/c d/1',
    ])
      expect(() => decodeConsistency(Buffer.from(text).toString('base64url'))).toThrow(bad)
  })
})

describe('a read with a token', () => {
  test('goes on at once when the snapshot has that version or a newer one', async () => {
    for (const present of [2, 3]) {
      const snapshots = answering(present)
      await awaitConsistency(encodeConsistency([user(2)]), snapshots.of)
      expect(snapshots.asked).toEqual([id])
    }
  })

  test('waits for as long as the snapshot is older', async () => {
    const snapshots = answering(0, 1, 1, 2)
    await awaitConsistency(encodeConsistency([user(2)]), snapshots.of)
    expect(snapshots.asked).toHaveLength(4)
  })

  test('waits for every version that the token names', async () => {
    const other = { ...user(5), id: '0198c0de-0000-7000-8000-000000000002' }
    const snapshots = answering(2, 4, 5)
    await awaitConsistency(encodeConsistency([user(2), other]), snapshots.of)
    expect(snapshots.asked).toEqual([id, other.id, other.id])
  })

  test('is refused when the token names a module or a thing that has no snapshots', () => {
    for (const unknown of [
      { ...user(1), module: 'nobody' },
      { ...user(1), thing: 'nothing' },
    ])
      expect(awaitConsistency(encodeConsistency([unknown]), answering(9).of)).rejects.toEqual(bad)
  })
})
