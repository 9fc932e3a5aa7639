import type { Buyer } from '../shop.ts'
import { freshEmail } from '../client.ts'
import type { Teller } from './teller.ts'
import type { World } from './world.ts'

/** What a story begins with; made while nobody dies. */
export type Given = { buyer: Buyer; sku: string; orderId?: string; userId?: string }

export type Story = {
  name: string
  /** Done before the point is armed. */
  prepare?(world: World, given: Given): Promise<Given>
  /** What a client asks for, and what must become of it however often the process dies. */
  tell(teller: Teller, given: Given): Promise<void>
}

const quantity = 2

export const basket = ({ sku }: Given, paymentToken = 'tok_visa') => ({ lines: [{ sku, quantity }], paymentToken })

/** An order that is paid for. */
const paidOrder = async ({ shop }: World, given: Given) => {
  const { id } = await shop.buy(given.buyer, basket(given).lines)
  await shop.eventuallyOrder(id, { status: 'confirmed' })
  return { ...given, orderId: id }
}

const register: Story = {
  name: 'register',
  tell: async ({ insist, until }) => {
    const body = { name: 'Ada', email: freshEmail(), password: 'correct horse battery staple' }
    // Nobody has a key before they are registered: what was done and not answered is found to be taken.
    await insist('POST', '/users', { body }, [201, 409])
    const session = await insist('POST', '/sessions', { body: { email: body.email, password: body.password } }, [201])
    const { userId, token } = session.body as { userId: string; token: string }
    await until(`/users/${userId}`, { name: 'Ada', status: 'active', version: 1 }, token)
  },
}

const buy: Story = {
  name: 'buy',
  tell: async ({ command, until }, given) => {
    const order = await command('/orders', given.buyer.token, basket(given))
    const { paymentId } = await until(`/orders/${order?.id}`, { status: 'confirmed', version: 2 })
    await until(`/payments/${String(paymentId)}`, { status: 'captured', orderId: order?.id })
  },
}

const cancel: Story = {
  name: 'cancel',
  prepare: paidOrder,
  tell: async ({ command, until }, { buyer, orderId }) => {
    await command(`/orders/${orderId}/cancellation`, buyer.token)
    const { paymentId } = await until(`/orders/${orderId}`, { status: 'cancelled', reason: 'requested' })
    await until(`/payments/${String(paymentId)}`, { status: 'refunded' })
  },
}

const close: Story = {
  name: 'close',
  prepare: async (world, given) => {
    const account = await world.shop.client.signUp()
    return paidOrder(world, { ...given, buyer: account })
  },
  tell: async ({ insist, until }, { buyer, orderId }) => {
    await insist('DELETE', `/users/${buyer.id}`, { token: buyer.token }, [202, 409])
    await until(`/users/${buyer.id}`, { status: 'closed', name: null, email: null })
    const { paymentId } = await until(`/orders/${orderId}`, { status: 'cancelled', reason: 'user-closed' })
    await until(`/payments/${String(paymentId)}`, { status: 'refunded' })
  },
}

const checkOut = (name: string, paymentToken: string, ended: object, order: object, payment: object): Story => ({
  name,
  tell: async ({ command, until, paymentOf }, given) => {
    const checkout = await command('/checkouts', given.buyer.token, basket(given, paymentToken))
    const { orderId } = await until(`/checkouts/${checkout?.id}`, ended)
    await until(`/orders/${String(orderId)}`, order)
    await until(`/payments/${await paymentOf(String(orderId))}`, payment)
  },
})

const settle: Story = {
  name: 'settle',
  tell: async ({ command, until, operator }) => {
    const period = { from: '2001-01-01T00:00:00.000Z', to: '2001-02-01T00:00:00.000Z' }
    const settlement = await command('/settlements', operator, period)
    await until(`/settlements/${settlement?.id}`, { status: 'completed', ...period })
  },
}

/** The flows of the business, each of which is killed at every step that it passes. */
export const stories: Story[] = [
  register,
  buy,
  cancel,
  close,
  checkOut('checkout completed', 'tok_visa', { status: 'completed' }, { status: 'confirmed' }, { status: 'captured' }),
  checkOut(
    'checkout declined',
    'tok_declined',
    { status: 'compensated' },
    { status: 'cancelled', reason: 'checkout-failed' },
    { status: 'declined' },
  ),
  settle,
]
