import { expect } from 'bun:test'
import { chargePayment } from '#events/payments'
import type { Step } from '#platform/durable'
import { recordOf } from '../messaging.ts'
import { eventually } from '../eventually.ts'
import { patienceMs } from '../shop.ts'
import { type Story, basket } from './stories.ts'
import type { Teller } from './teller.ts'

/** A story that is told for the sake of some steps, which no flow of the business passes. */
export type OddStory = Story & { at: Step[] }

const credentials = ({ email }: { email: string }, password: string) => ({ body: { email, password } })

const signIn: OddStory = {
  name: 'a wrong password, a session, its end',
  at: ['redis.count', 'redis.flags'],
  tell: async ({ insist, world, until }) => {
    const account = await world.shop.client.signUp()
    await insist('POST', '/sessions', credentials(account, 'not my password'), [401])
    const session = await insist('POST', '/sessions', credentials(account, account.password), [201])
    const { token } = session.body as { token: string }
    await insist('DELETE', '/sessions/current', { token }, [204, 401])
    await insist('GET', `/users/${account.id}`, { token }, [401])
    await until(`/users/${account.id}`, { status: 'active' }, account.token)
  },
}

const refused: OddStory = {
  name: 'an order that is refused',
  at: ['answer.keep'],
  tell: async ({ command }, { buyer, sku }) => {
    await command('/orders', buyer.token, { lines: [{ sku, quantity: 1_000 }], paymentToken: 'tok_visa' }, [409])
  },
}

const wiped: OddStory = {
  name: 'Redis loses everything',
  at: ['redis.set', 'redis.extend', 'redis.mark'],
  prepare: async (world, given) => {
    const { token, id: userId } = await world.shop.client.signUp()
    expect((await world.shop.client.send('DELETE', '/sessions/current', { token })).status).toBe(204)
    const { id } = await world.shop.buy(given.buyer, basket(given).lines)
    await world.shop.eventuallyOrder(id, { status: 'confirmed' })
    return { ...given, orderId: id, userId }
  },
  tell: async ({ world, until }, { orderId, userId }) => {
    await world.redis.flushall()
    await until(`/orders/${orderId}`, { status: 'confirmed' })
    await until(`/users/${userId}`, { status: 'active' })
  },
}

const unanswered: OddStory = {
  name: 'the provider is away for a while',
  at: ['timer.postpone'],
  tell: async ({ world, command, until }, given) => {
    const first = world.victim()
    const isLeft = async () => {
      if (first.child.exitCode !== null || first.child.signalCode !== null) return
      await first.report()
      expect(first.passed).toContain('timer.postpone')
    }
    await world.detour.cut()
    const order = await command('/orders', given.buyer.token, basket(given))
    await eventually(isLeft, patienceMs)
    await world.detour.mend()
    await until(`/orders/${order?.id}`, { status: 'confirmed' })
  },
}

/** The first of the messages that are held of a key, as an operator is shown it. */
const headOf = async ({ insist, operator }: Teller, key: string): Promise<string | undefined> => {
  const { body } = await insist('GET', '/ops/dead-letters', { token: operator }, [200])
  const { items } = body as { items: { id: string; key: string; status: string }[] }
  const held = items.filter((item) => item.key === key)
  if (held.length > 0 && held[0]?.status !== 'parked') throw new Error(`${held[0]?.id} is ${held[0]?.status}.`)
  return held[0]?.id
}

const poison: OddStory = {
  name: 'messages that cannot be handled',
  at: ['consumer.park', 'held.resolve', 'held.park', 'held.commit'],
  tell: async (teller, given) => {
    const { world, command, operator } = teller
    const orderId = Bun.randomUUIDv7()
    // Postgres takes no NUL, so that the handler fails each time; the third message nobody knows.
    const charge = { orderId, userId: given.buyer.id, amount: 100, currency: 'EUR', paymentToken: 'a\0b' }
    const poisoned = () => recordOf(chargePayment(orderId, orderId, charge))
    const unknown = recordOf({ ...chargePayment(orderId, orderId, charge), type: 'payments.unknown.v1' })
    await world.send([poisoned(), poisoned(), unknown])
    for (const expected of [true, true, false]) {
      const head = await eventually(async () => {
        const found = await headOf(teller, orderId)
        expect(found !== undefined).toBe(expected)
        return found
      }, patienceMs)
      if (head) await command(`/ops/dead-letters/${head}/skip`, operator)
    }
  },
}

/** What passes the steps that no flow of the business does. */
export const oddStories: OddStory[] = [signIn, refused, wiped, unanswered, poison]
