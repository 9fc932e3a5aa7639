import { isLoopback, networkOf } from '#platform/addresses'
import { type RateLimit, createRateLimit } from '#platform/rate-limit'
import type { RedisClient } from '#platform/redis'

/** How much one address may ask of what anybody may: each counts an attempt. @throws TooManyAttemptsError */
export type Limits = {
  registration(address: string | undefined): Promise<void>
  signIn(address: string | undefined): Promise<void>
}

/** For each, how many a minute; 0 for no limit, undefined for the usual one, which leaves the machine itself alone. */
export type LimitSettings = { registrations: number | undefined; signIns: number | undefined }

const usualPerMinute = 300

/** Limits for each network, counted in Redis. */
export const createLimits = (redis: RedisClient, { registrations, signIns }: LimitSettings): Limits => {
  const limit = (thing: string, perMinute: number | undefined) => {
    const refusal = `There were too many ${thing} from your address.`
    const prefix = `bff:${thing}`
    const counted = createRateLimit({ redis, prefix, max: perMinute ?? usualPerMinute, windowMs: 60_000, refusal })
    return perMinute === 0 ? unlimited : take(counted, perMinute === undefined)
  }
  return { registration: limit('registrations', registrations), signIn: limit('sign-ins', signIns) }
}

const unlimited = () => Promise.resolve()

/** A request that came by no connection has no address, and is this process's own. */
const take = (limit: RateLimit, sparesLoopback: boolean) => async (address: string | undefined) => {
  if (address === undefined || (sparesLoopback && isLoopback(address))) return
  await limit.take(networkOf(address))
}
