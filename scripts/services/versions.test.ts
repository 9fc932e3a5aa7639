import { expect, test } from 'bun:test'
import { majorVersion } from './java.ts'
import { isRecentEnough } from './redis.ts'

test('a Java tells its major version in the old way and in the new', () => {
  expect(majorVersion('openjdk version "17.0.15" 2025-04-15')).toBe(17)
  expect(majorVersion('openjdk version "26-ea" 2026-03-17')).toBe(26)
  expect(majorVersion('java version "1.8.0_392"')).toBe(8)
  expect(majorVersion('The operation could not be completed.')).toBe(0)
})

test('a Redis or a Valkey from the PATH is taken from version 6.2 on', () => {
  expect(isRecentEnough('Redis server v=6.2.11 sha=00000000:0 malloc=jemalloc-5.1.0')).toBe(true)
  expect(isRecentEnough('Valkey server v=8.0.1 sha=00000000:0')).toBe(true)
  expect(isRecentEnough('Redis server v=7.0.15')).toBe(true)
  expect(isRecentEnough('Redis server v=6.0.16')).toBe(false)
  expect(isRecentEnough('Redis server v=5.0.14')).toBe(false)
  expect(isRecentEnough('')).toBe(false)
})
