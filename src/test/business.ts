import { expect } from 'bun:test'
import { z } from 'zod'
import type { Environment } from '../config.ts'
import { type Answer, type Sent, consistency, createClient, freshEmail } from './client.ts'
import { eventually } from './eventually.ts'
import { withoutIds } from './normal.ts'
import { patienceMs } from './shop.ts'

const made = z.looseObject({ id: z.uuid(), paymentId: z.uuid().nullish() })

/**
 * Every flow of the business, once and to its end, by requests that go to the doors in turn. Each is a story of its own, by the
 * name `<run>-<step>`. Returns what was answered, without what differs between two runs.
 */
export const doBusiness = async ({
  run,
  doors,
  environment,
}: {
  run: string
  doors: string[]
  environment: Environment
}) => {
  const { OPERATOR_EMAIL = '', OPERATOR_PASSWORD = '' } = environment
  const clients = doors.map(createClient)
  const [first = createClient('')] = clients
  const answers: [step: string, status: number, body: unknown][] = []
  let turn = 0
  const next = () => clients[turn++ % clients.length] ?? first

  const send = async (step: string, method: string, path: string, sent: Sent = {}): Promise<Answer> => {
    const headers = { 'correlation-id': `${run}-${step}`, ...sent.headers }
    const answer = await next().send(method, path, { ...sent, headers })
    expect(answer.headers.get('correlation-id')).toBe(`${run}-${step}`)
    answers.push([step, answer.status, withoutIds(answer.body)])
    return answer
  }
  const until = (path: string, token: string, expected: object) =>
    eventually(async () => {
      const { body } = await next().send('GET', path, { token })
      expect(body).toMatchObject(expected)
      return made.parse(body)
    }, patienceMs)

  const signIn = async (step: string, email: string, password: string): Promise<string> => {
    const { body } = await send(step, 'POST', '/sessions', { body: { email, password } })
    return z.object({ token: z.string() }).parse(body).token
  }

  const operator = await signIn('operator', OPERATOR_EMAIL, OPERATOR_PASSWORD)
  const sku = `test-${Bun.randomUUIDv7()}`
  const product = { name: 'Samovar', price: { amount: 1_234, currency: 'EUR' } }
  await send('product', 'PUT', `/products/${sku}`, { token: operator, body: product })
  await send('stock', 'POST', `/products/${sku}/stock`, { token: operator, body: { delta: 100 } })

  const account = { email: freshEmail(), password: 'correct horse battery staple' }
  const registered = await send('register', 'POST', '/users', { body: { ...account, name: 'Ada' } })
  const { id } = made.parse(registered.body)
  const token = await signIn('session', account.email, account.password)
  await send('read', 'GET', `/users/${id}`, { token, headers: consistency(registered) })
  await send('rename', 'PATCH', `/users/${id}`, { token, body: { name: 'Countess' } })

  const cart = (paymentToken: string, quantity = 2) => ({ lines: [{ sku, quantity }], paymentToken })
  const begin = async (step: string, path: string, body: unknown) =>
    made.parse((await send(step, 'POST', path, { token, body })).body).id
  const paid = async (step: string) => {
    const order = await begin(step, '/orders', cart('tok_visa'))
    const { paymentId } = await until(`/orders/${order}`, token, { status: 'confirmed' })
    await until(`/payments/${paymentId}`, token, { status: 'captured' })
    return { order, payment: paymentId ?? '' }
  }
  const refunded = async ({ order, payment }: Awaited<ReturnType<typeof paid>>, reason: string) => {
    await until(`/payments/${payment}`, operator, { status: 'refunded' })
    await until(`/orders/${order}`, operator, { status: 'cancelled', reason })
  }

  const kept = await paid('buy')
  const declined = await begin('buy-declined', '/orders', cart('tok_declined'))
  await until(`/orders/${declined}`, token, { status: 'cancelled', reason: 'declined' })
  await send('buy-too-much', 'POST', '/orders', { token, body: cart('tok_visa', 1_000) })

  const regretted = await paid('buy-and-regret')
  await send('cancel', 'POST', `/orders/${regretted.order}/cancellation`, { token })
  await refunded(regretted, 'requested')

  const returned = await paid('buy-and-return')
  await send('refund', 'POST', `/payments/${returned.payment}/refund`, { token: operator })
  await refunded(returned, 'refunded')

  for (const [paymentToken, status] of [
    ['tok_visa', 'completed'],
    ['tok_declined', 'compensated'],
  ] as const) {
    const checkout = await begin(`check-out-${status}`, '/checkouts', cart(paymentToken))
    await until(`/checkouts/${checkout}`, token, { status })
  }

  const query = `mutation ($id: ID!, $input: PlaceOrderInput!) {
    renameUser(id: $id, name: "Lovelace") { name version } placeOrder(input: $input) { id status user { id } } }`
  const mutated = await send('mutate', 'POST', '/graphql', {
    token,
    body: { query, variables: { id, input: cart('tok_visa') } },
  })
  const placed = z.object({ data: z.object({ placeOrder: made }) }).parse(mutated.body).data.placeOrder
  await until(`/orders/${placed.id}`, token, { status: 'confirmed' })

  const period = { from: '2001-01-01T00:00:00.000Z', to: '2002-01-01T00:00:00.000Z' }
  const settled = await send('settle', 'POST', '/settlements', { token: operator, body: period })
  await until(`/settlements/${made.parse(settled.body).id}`, operator, { status: 'completed' })

  await send('close', 'DELETE', `/users/${id}`, { token })
  await refunded(kept, 'user-closed')
  return { answers, kept }
}
