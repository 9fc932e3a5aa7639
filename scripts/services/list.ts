import { broker } from './broker.ts'
import { postgres } from './postgres.ts'
import { provider } from './provider.ts'
import { redis } from './redis.ts'
import type { Service } from './service.ts'

/** What development and the tests run on; started side by side. */
export const services: readonly Service[] = [postgres, broker, redis, provider]
