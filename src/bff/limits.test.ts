import { expect, test } from 'bun:test'
import type { RedisClient } from '#platform/redis'
import { type LimitSettings, createLimits } from './limits.ts'

/** How many of so many registrations are let through. */
const admitted = async (address: string | undefined, times: number, settings: Partial<LimitSettings> = {}) => {
  let count = 0
  const increment = () => Promise.resolve({ count: ++count, leftMs: 1_000 })
  const redis = { increment } as unknown as RedisClient
  const limits = createLimits(redis, { registrations: undefined, signIns: undefined, ...settings })
  const outcomes = await Promise.allSettled(Array.from({ length: times }, () => limits.registration(address)))
  return outcomes.filter(({ status }) => status === 'fulfilled').length
}

test('three hundred a minute are usual', async () => {
  expect(await admitted('192.0.2.7', 400)).toBe(300)
})

test('the machine itself is not limited, unless a limit is set', async () => {
  for (const address of ['127.0.0.1', '::1', undefined]) expect(await admitted(address, 400)).toBe(400)
  expect(await admitted('127.0.0.1', 400, { registrations: 10 })).toBe(10)
})

test('0 is no limit', async () => {
  expect(await admitted('192.0.2.7', 400, { registrations: 0 })).toBe(400)
})
