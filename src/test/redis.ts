import { Redis } from 'ioredis'
import type { Environment } from '../config.ts'

/** A connection to the Redis of the tests, to look at what a process left there, or to take it away. */
export const openTestRedis = (environment: Environment) => new Redis(environment['REDIS_URL'] ?? '')
