import type { Environment } from '../config.ts'
import { openInstance } from './instance.ts'
import { redisTraffic } from './redis-traffic.ts'

/** Another process's faces that answer from Redis by a connection whose traffic is counted, and that use Redis for nothing else. */
export const openCountedReader = async (environment: Environment) => {
  const redis = await redisTraffic(environment['REDIS_URL'] ?? '')
  const reader = await openInstance({ ...environment, REDIS_URL: redis.url })
  return {
    redis,
    reader,
    close: async () => {
      await reader.close()
      redis.close()
    },
  }
}
