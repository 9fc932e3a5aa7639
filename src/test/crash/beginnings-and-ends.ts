import { expect } from 'bun:test'
import { join } from 'node:path'
import { basket } from './stories.ts'
import { createTeller } from './teller.ts'
import { type Point, dieAt, preload } from './victim.ts'
import type { World } from './world.ts'

/** The process is told to stop, and dies on the way. */
const stopping = async (world: World, point: Point) => {
  await world.rest()
  const dying = world.victim()
  await dying.arm(point)
  dying.child.kill('SIGTERM')
  await world.next(point)
  await world.rest()
}

/** The process dies at the point while it starts, in the place of one that was killed. */
const starting = async (world: World, point: Point) => {
  await world.rest()
  world.victim().child.kill('SIGKILL')
  await world.doomed(point)
  await world.next()
  await world.rest()
}

/**
 * The process dies with a message sent and not handled, and the next when it has taken the message up, alone. Whether that was
 * noted or not, the message is tried again: one death with it alone may have come from outside.
 */
const takingOver = async (world: World, point: Point, sku: string) => {
  const buyer = await world.shop.newBuyer()
  await world.rest()
  await world.victim().arm({ step: 'relay.send', when: 'after' })
  const teller = createTeller(world)
  const order = await teller.command('/orders', buyer.token, basket({ buyer, sku }))
  await world.doomed(point)
  await world.next()
  await teller.until(`/orders/${order?.id}`, { status: 'confirmed' })
  await world.rest()
  const [counted] = await world.owner.run(
    `select count(*)::int as crashed from (select * from orders.dead_letters union all select * from payments.dead_letters) as held
      where code = 'crash' and key = $1`,
    [order?.id ?? ''],
  )
  expect(counted).toEqual({ crashed: 0 })
  await teller.repeat()
}

/** A process that only deletes what is too old dies; the next one finds what is left to delete. */
const pruning = async (world: World, point: Point) => {
  const old = `insert into orders.idempotency_keys (user_id, route, key, request_hash, status, body, consistency, created_at)
    values ($1, 'r', 'k', 'h', 200, '{}', '', now() - interval '1 day')`
  await world.owner.run(old, [Bun.randomUUIDv7()])
  const prune = (environment: Record<string, string | undefined>, args: string[]) =>
    Bun.spawn(
      [process.execPath, ...args, join(import.meta.dir, 'pruning.ts'), world.environment['ORDERS_DATABASE_URL'] ?? ''],
      {
        env: { ...environment },
        stdout: 'pipe',
        stderr: 'inherit',
      },
    )
  const dying = prune(dieAt(point), ['--preload', preload])
  await dying.exited
  expect(dying.signalCode).toBe('SIGKILL')
  const next = prune({}, [])
  expect(await new Response(next.stdout).text()).toBe(point.when === 'before' ? '1\n' : '0\n')
  world.reached.add(point.step)
}

type Trial = { name: string; at: Point['step'][]; run(world: World, point: Point, sku: string): Promise<void> }

/** The steps by which a process begins and ends its work, each with what happens around it. */
export const beginningsAndEnds: Trial[] = [
  { name: 'start', at: ['consumer.join', 'consumer.take'], run: starting },
  { name: 'taking over', at: ['consumer.begin'], run: takingOver },
  { name: 'stop', at: ['consumer.leave', 'relay.release'], run: stopping },
  { name: 'pruning', at: ['retention.commit'], run: pruning },
]
