import type { Breach, Breaches, PlantingOn } from './planting.ts'
import type { SystemAtRest } from './system-at-rest.ts'

/** What Redis lacks, has beyond the tables, or has otherwise; mended by the projection that follows. */
export const wrongSnapshots = ({ redis, done: { user } }: SystemAtRest, { about }: PlantingOn): Breaches => {
  const planted = (says: string[], plant: () => Promise<unknown>): Breach => ({
    says,
    plant,
    mend: () => Promise.resolve(),
  })
  const keyOf = (id: string) => `orders:order:${id}`
  const rewrite = async (id: string, change: object) => {
    const snapshot = JSON.parse((await redis.get(keyOf(id))) ?? '') as object
    await redis.set(keyOf(id), JSON.stringify({ ...snapshot, ...change }))
  }
  const [ghost, listed, owner, token] = Array.from({ length: 4 }, () => Bun.randomUUIDv7())
  return {
    'one that is gone': about(({ id }) => planted([`order ${id} is not in Redis`], () => redis.del(keyOf(id)))),
    'one that is older than its row': about(({ id }) =>
      planted([`order ${id} has version 1 in Redis and 2 in the tables; what differs: version`], () =>
        rewrite(id, { version: 1 }),
      ),
    ),
    'one that says something else at the same version': about(({ id }) =>
      planted([`order ${id} has version 2 in Redis and 2 in the tables; what differs: status, extra`], () =>
        rewrite(id, { status: 'pending', extra: 1 }),
      ),
    ),
    'one that cannot be read': about(({ id }) =>
      planted([`order ${id} is no JSON object in Redis`], () => redis.set(keyOf(id), 'x')),
    ),
    'one that no row stands behind': planted([`order ${ghost} is in Redis and not in the tables`], () =>
      redis.set(keyOf(`${ghost}`), '{"version":1}'),
    ),
    'one whose id is no id': planted(['user ghost is in Redis and not in the tables'], () =>
      redis.set('users:user:ghost', '{"version":1}'),
    ),
    'an order that is missing in its user’s list': about(({ id }) =>
      planted([`order ${id} is not in the list orders:orders-of:${user}`], () =>
        redis.zrem(`orders:orders-of:${user}`, id),
      ),
    ),
    'a product that is missing in the list': planted(['product jam is not in the list orders:products'], () =>
      redis.zrem('orders:products', 'jam'),
    ),
    'a list with an order that there is not': planted([`the list orders:orders-of:all has ${listed}`], () =>
      redis.zadd('orders:orders-of:all', 0, `${listed}`),
    ),
    'a list with an order of somebody else': about(({ id }) =>
      planted([`the list orders:orders-of:${owner} has ${id}`], () => redis.zadd(`orders:orders-of:${owner}`, 0, id)),
    ),
    'a sign-out that is forgotten': planted(['users: signed-out ', ' is not in Redis'], async () =>
      redis.del(await redis.keys('users:signed-out:*')),
    ),
    'a sign-out that nobody asked for': planted([`signed-out ${token} is in Redis and not in the tables`], () =>
      redis.set(`users:signed-out:${token}`, '1'),
    ),
  }
}
