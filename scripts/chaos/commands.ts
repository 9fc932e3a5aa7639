import { z } from 'zod'
import { checkoutSnapshot, orderSnapshot } from '#modules/orders'
import { paymentSnapshot, settlementSnapshot } from '#modules/payments'
import { userSnapshot } from '#modules/users'
import { type Answer, type Door, type Request, codeOf } from './door.ts'
import type { Random } from './random.ts'
import type { Customer, Record } from './record.ts'
import type { Seen } from './seen.ts'

export type World = {
  door: Door
  record: Record
  seen: Seen
  random: Random
  operator: string
  skus: string[]
}

const checkout = checkoutSnapshot.omit({ version: true })
const settlement = settlementSnapshot.omit({ version: true })
const identified = z.object({ id: z.string() })
const session = z.object({ token: z.string(), userId: z.uuid() })

const password = 'correct horse battery staple'
const slowMs = 15_000

const text = (value: unknown) => JSON.stringify(value).slice(0, 300)

/** What may be refused of each command, whatever the faults; any other refusal is a breach. */
const refusals: { [command: string]: readonly (string | undefined)[] } = {
  order: ['out-of-stock', 'account-closed', 'unauthenticated'],
  checkout: ['out-of-stock', 'account-closed', 'unauthenticated'],
  cancellation: ['already-cancelled', 'unauthenticated'],
  refund: ['not-refundable'],
  stock: ['out-of-stock'],
  rename: ['account-closed', 'unauthenticated'],
  registration: ['email-taken'],
}

/** Sends a command until it is answered and notes that; undefined when it was not answered, or refused for a good reason. */
const command = async (
  { door, record, random }: World,
  name: string,
  request: Request,
): Promise<Answer | undefined> => {
  const keyed =
    request.method === 'POST' && request.token !== undefined ? { ...request, key: Bun.randomUUIDv7() } : request
  const answer = await door.ask(keyed)
  if (!answer) {
    door.figures.unanswered += 1
    return undefined
  }
  door.figures.answered += 1
  record.answered(name, answer.status)
  const { status, body } = answer
  if (status >= 400 && !refusals[name]?.includes(codeOf(answer)))
    record.breach(`${name} ${request.path} was refused: ${status} ${text(body)}`)
  if (keyed.key !== undefined && random.percent(4)) await repeat(door, record, keyed, answer)
  return answer
}

/** The same key and body once more: the first answer must come again, or, after a closing, nothing at all. */
const repeat = async (door: Door, record: Record, request: Request, { status, body }: Answer): Promise<void> => {
  const again = await door.ask(request)
  if (!again || codeOf(again) === 'unauthenticated') return
  record.counts.set('repeated', (record.counts.get('repeated') ?? 0) + 1)
  if (again.status !== status || JSON.stringify(again.body) !== JSON.stringify(body))
    record.breach(
      `${request.path} with key ${request.key}: first ${status} ${text(body)}, then ${again.status} ${text(again.body)}`,
    )
}

const paymentTokens = Array<string>(14)
  .fill('tok_visa')
  .concat('tok_declined', 'tok_declined', 'tok_flaky', 'tok_flaky', 'tok_slow', 'tok_lost')

const cart = ({ random, skus }: World) => ({
  lines: random
    .shuffle(skus)
    .slice(0, random.between(1, 4))
    .map((sku) => ({ sku, quantity: random.between(1, 4) })),
  paymentToken: random.pick(paymentTokens),
})

/** Buys now; answers with the order. */
export const placeOrder = async (world: World, customer: Customer): Promise<string | undefined> => {
  const answer = await command(world, 'order', {
    method: 'POST',
    path: '/orders',
    token: customer.token,
    body: cart(world),
  })
  if (!answer) return undefined
  allowClosed(world, customer, answer)
  if (answer.status !== 202) return undefined
  const order = orderSnapshot.parse(answer.body)
  world.record.order(customer, order)
  world.seen.add({ path: `/orders/${order.id}`, owner: customer })
  return order.id
}

export const startCheckout = async (world: World, customer: Customer): Promise<void> => {
  const request: Request = { method: 'POST', path: '/checkouts', token: customer.token, body: cart(world) }
  const answer = await command(world, 'checkout', request)
  if (!answer) return
  allowClosed(world, customer, answer)
  if (answer.status !== 202) return
  const { id, userId } = checkout.parse(answer.body)
  if (userId !== customer.id) world.record.breach(`checkout ${id} was answered to ${customer.id} and is of ${userId}`)
  world.record.checkouts.set(id, customer)
  world.seen.add({ path: `/checkouts/${id}`, owner: customer })
}

/** Who is not closing is never told so, nor that nobody has signed in. */
const allowClosed = ({ record }: World, customer: Customer, answer: Answer): void => {
  const code = codeOf(answer)
  if (!customer.closing && (code === 'account-closed' || code === 'unauthenticated'))
    record.breach(`${customer.id} was told ${code} and has not closed its account`)
}

/** Cancels an order that its owner has seen, or that the operator knows of. */
export const cancelOrder = async (world: World): Promise<void> => {
  const { random, record, seen, operator } = world
  const byOwner = random.percent(50)
  const id = byOwner ? seen.someOrder() : seen.recentOrder()
  const order = id === undefined ? undefined : record.orders.get(id)
  if (id === undefined || !order || order.owner.closing) return renameUser(world)
  const request: Request = {
    method: 'POST',
    path: `/orders/${id}/cancellation`,
    token: byOwner ? order.owner.token : operator,
  }
  const answer = await command(world, 'cancellation', request)
  if (!answer) return
  if (answer.status === 202 || codeOf(answer) === 'already-cancelled') order.cancelled = true
}

export const refundPayment = async (world: World): Promise<void> => {
  const id = world.seen.somePayment()
  if (id === undefined) return renameUser(world)
  const path = `/payments/${id}/refund`
  const answer = await command(world, 'refund', { method: 'POST', path, token: world.operator })
  if (answer?.status !== 202) return
  world.record.refunds.add(paymentSnapshot.parse(answer.body).id)
}

export const changeStock = async (world: World): Promise<void> => {
  const { random, record, operator, skus } = world
  const sku = random.pick(skus)
  const delta = random.percent(85) ? random.between(1, 20) : -random.between(1, 10)
  const request: Request = { method: 'POST', path: `/products/${sku}/stock`, token: operator, body: { delta } }
  const answer = await command(world, 'stock', request)
  if (answer?.status === 200) record.addStock(sku, delta)
  if (!answer) record.unsure.add(sku)
}

export const changePrice = async (world: World): Promise<void> => {
  const { random, operator, skus } = world
  const sku = random.pick(skus)
  const body = {
    name: `Thing ${random.between(0, 1_000)}`,
    price: { amount: random.between(100, 10_000), currency: 'EUR' },
  }
  await command(world, 'product', { method: 'PUT', path: `/products/${sku}`, token: operator, body })
}

const renaming = new Set<Customer>()

/** One name after the other for each customer, so that the last one answered is the last one. */
export const renameUser = async (world: World): Promise<void> => {
  const { record, random } = world
  const free = record.customers.filter((customer) => !customer.closing && !renaming.has(customer))
  if (free.length === 0) return
  const customer = random.pick(free)
  renaming.add(customer)
  const name = `Name ${Bun.randomUUIDv7()}`
  const request: Request = { method: 'PATCH', path: `/users/${customer.id}`, token: customer.token, body: { name } }
  const answer = await command(world, 'rename', request)
  renaming.delete(customer)
  if (!answer || answer.ambiguous) customer.late.add(name)
  if (!answer) return
  allowClosed(world, customer, answer)
  if (answer.status !== 200) return
  const user = userSnapshot.parse(answer.body)
  if (user.version <= customer.version)
    record.breach(`user ${user.id}: two commands were answered with version ${user.version} or later ones before`)
  customer.version = user.version
  customer.name = name
}

export const settle = async (world: World, from: Date): Promise<void> => {
  const body = { from: from.toISOString(), to: new Date().toISOString() }
  const request: Request = { method: 'POST', path: '/settlements', token: world.operator, body }
  const answer = await command(world, 'settlement', request)
  if (answer?.status !== 202) return
  const { id } = settlement.parse(answer.body)
  world.record.settlements.add(id)
}

/** Registers somebody and signs in. */
export const register = async (world: World): Promise<Customer | undefined> => {
  const { record } = world
  const [name, email] = ['Ada', `${Bun.randomUUIDv7()}@example.com`]
  const body = { name, email, password }
  const registered = await command(world, 'registration', { method: 'POST', path: '/users', body, timeoutMs: slowMs })
  if (!registered) return undefined
  const signedIn = await signIn(world, email)
  if (!signedIn) return undefined
  const { userId: id, token } = signedIn
  const answered = identified.safeParse(registered.body).data?.id
  if (registered.status === 201 && answered !== id) record.breach(`${email} was registered as ${answered} and is ${id}`)
  // It is taken by an earlier try of this very registration, or by nobody.
  if (registered.status === 409 && !registered.ambiguous) record.breach(`${email} is new and was said to be taken`)
  const customer = { id, token, email, name, late: new Set<string>(), version: 1, closing: false, closed: false }
  record.customers.push(customer)
  return customer
}

const signIn = async (world: World, email: string) => {
  const request: Request = { method: 'POST', path: '/sessions', body: { email, password }, timeoutMs: slowMs }
  const answer = await command(world, 'session', request)
  return answer?.status === 201 ? session.parse(answer.body) : undefined
}

/** Signs in once more and out again: the token must be dead from then on. */
export const signOut = async (world: World): Promise<void> => {
  const customer = world.record.customers.find(({ closing }) => !closing)
  const signedIn = customer && (await signIn(world, customer.email))
  if (!signedIn) return
  const { token } = signedIn
  const answer = await world.door.ask({ method: 'DELETE', path: '/sessions/current', token })
  if (!answer) return
  world.record.answered('sign-out', answer.status)
  const dead = answer.status === 204 || (answer.ambiguous && answer.status === 401)
  if (!dead) world.record.breach(`a sign-out of ${customer.id} was answered ${answer.status}`)
  world.record.signedOut.add(token)
}

/** Registers somebody who buys, and closes the account meanwhile. */
export const closeSomebody = async (world: World): Promise<void> => {
  const customer = await register(world)
  if (!customer) return
  const bought = Array.from({ length: 4 }, () => placeOrder(world, customer))
  await bought[0]
  customer.closing = true
  const request: Request = { method: 'DELETE', path: `/users/${customer.id}`, token: customer.token }
  const [answer] = await Promise.all([world.door.ask(request), ...bought, startCheckout(world, customer)])
  if (!answer) return
  world.record.answered('closing', answer.status)
  const repeated = answer.ambiguous && (codeOf(answer) === 'unauthenticated' || codeOf(answer) === 'account-closed')
  if (answer.status === 202 || repeated) customer.closed = true
  else world.record.breach(`the closing of ${customer.id} was answered ${answer.status} ${text(answer.body)}`)
}
