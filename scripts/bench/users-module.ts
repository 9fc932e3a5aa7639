import { registerUser, users } from '#modules/users'
import { createHints } from '#platform/hints'
import { hostModule } from '#platform/module'
import { openPostgres } from '#platform/postgres'
import { type RedisClient, openRedis } from '#platform/redis'
import { ourBroker } from './bare-kafka.ts'
import type { Bench } from './scenario.ts'

export const constantHash = `$argon2id$v=19$m=19456,t=2,p=1$${'s'.repeat(43)}$${'h'.repeat(43)}`

/**
 * The users module as src/app.ts hosts it, in this process and not started. Only passwords are not hashed, and what
 * writes to Redis may be watched.
 */
export const hostUsers = (bench: Bench, watch: (redis: RedisClient) => RedisClient = (redis) => redis) => {
  const { config, log } = bench
  const { USERS_DATABASE_URL: url = '', DATABASE_POOL_SIZE: poolSize } = config
  const postgres = openPostgres({ url, name: 'bench-users', poolSize, log })
  const redis = openRedis({ url: config.REDIS_URL, name: 'bench', log })
  const hosted = hostModule({
    definition: users,
    postgres,
    broker: ourBroker(bench),
    redis: watch(redis),
    log,
    owner: Bun.randomUUIDv7(),
    hints: createHints(redis),
  })
  const stubs = {
    passwords: { hash: () => Promise.resolve(constantHash), verify: () => Promise.resolve(false) },
    signInFailures: { lockedSeconds: () => Promise.resolve(0), failed: async () => {}, forget: async () => {} },
  }
  return {
    hosted,
    redis,
    /** Registers somebody new; resolves with the id when the commit is acknowledged. */
    register: async (): Promise<string> => {
      const id = Bun.randomUUIDv7()
      const context = { ...hosted.context({ correlationId: id, causationId: id }), ...stubs }
      const user = await registerUser(context, { name: 'Ada Lovelace', email: `${id}@example.com`, password: 'unused' })
      return user.id
    },
    close: async () => {
      await postgres.close()
      redis.close()
    },
  }
}
