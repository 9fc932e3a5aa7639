import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { z } from 'zod'
import { openWorld } from './world.ts'

setDefaultTimeout(120_000)

let reached = 0
const inside = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch: () => {
    reached += 1
    return Response.json({})
  },
})

const charge = z.object({ token: z.string(), amount: z.int(), currency: z.string(), reference: z.string() })
type Charge = z.infer<typeof charge>

const honest = ({ amount, currency, reference }: Charge) => ({
  id: `ch_${reference}`,
  status: 'captured',
  amount,
  currency,
  reference,
  declineCode: null,
  createdAt: new Date().toISOString(),
})

const json = (change: (right: ReturnType<typeof honest>) => unknown) => (asked: Charge) =>
  Response.json(change(honest(asked)))

/** What a provider answers that went wrong, or over to somebody else. */
const answers: Record<string, (asked: Charge) => Response> = {
  'a page of a proxy': () => new Response('<h1>It works!</h1>', { headers: { 'content-type': 'text/html' } }),
  nothing: () => new Response(null),
  'half of its answer': () => new Response('{"id":"ch_1","status":"captur'),
  'a list': json((right) => [right]),
  'a charge without an id': json((right) => ({ ...right, id: undefined })),
  'an id that Postgres does not take': json((right) => ({ ...right, id: 'ch_\0' })),
  'an id of a megabyte': json((right) => ({ ...right, id: 'x'.repeat(900_000) })),
  'an answer without end': () => new Response(new Uint8Array(5_000_000).fill(32)),
  'a status that there is not': json((right) => ({ ...right, status: 'maybe' })),
  'a status in capital letters': json((right) => ({ ...right, status: 'CAPTURED' })),
  'a status in a prototype': ({ reference }) =>
    new Response(`{"id":"ch_${reference}","createdAt":"2026-01-01T00:00:00Z","__proto__":{"status":"captured"}}`),
  'a time that is none': json((right) => ({ ...right, createdAt: 'soon' })),
  'less money than was asked for': json((right) => ({ ...right, amount: 1 })),
  'other money than was asked for': json((right) => ({ ...right, currency: 'XXX' })),
  'the charge of somebody else': json((right) => ({ ...right, reference: Bun.randomUUIDv7() })),
  'a refusal that says it is a success': () => Response.json({ error: { code: 'unknown-token' } }),
  'that we are nobody': () => Response.json({ error: { code: 'unauthorized', secret: 'sk_live_1' } }, { status: 401 }),
  'the way to somebody inside': () => new Response(null, { status: 302, headers: { location: inside.url.href } }),
}
const names = Object.keys(answers)
const tokenOf = (name: string) => `tok_hostile_${names.indexOf(name)}`

const asked: Record<string, { key: string | null; hostile: boolean }[]> = {}

/** Answers the first two times as the token says, then as it should. */
const provider = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch: async (request) => {
    if (new URL(request.url).pathname !== '/charges') return Response.json({ id: 're_1', createdAt: new Date() })
    const body = charge.parse(await request.json())
    const calls = (asked[body.token] ??= [])
    const hostile = body.token.startsWith('tok_hostile_') && calls.length < 2
    calls.push({ key: request.headers.get('idempotency-key'), hostile })
    const answer = answers[names[Number(body.token.split('_').at(-1))] ?? '']
    if (body.token === 'tok_script')
      return Response.json({ ...honest(body), status: 'declined', declineCode: '<script>' })
    return hostile && answer ? answer(body) : Response.json(honest(body))
  },
})

const world = await openWorld({ PAYMENT_PROVIDER_URL: provider.url.href })
const { app, attacker, buy, eventuallyOrder, eventuallyPayment, lines, operator, client, payments } = world

afterAll(() => Promise.all([provider.stop(true), inside.stop(true)]))

const orders = await Promise.all(names.map(async (name) => ({ name, ...(await buy(attacker, lines, tokenOf(name))) })))

for (const { name, id, total } of orders) {
  test(`a provider that answers ${name} is asked again, with the same key, until its answer can be believed`, async () => {
    const { paymentId } = await eventuallyOrder(id, { status: 'confirmed' })
    await eventuallyPayment(paymentId ?? '', { status: 'captured', amount: total })
    const calls = asked[tokenOf(name)] ?? []
    expect(calls.map(({ hostile }) => hostile)).toEqual([true, true, false])
    expect(calls.map(({ key }) => key)).toEqual(Array.from({ length: 3 }, () => `charge:${paymentId}`))
    const [kept] = await payments.run('select charge_id from payments where id = $1', [paymentId ?? ''])
    expect(kept?.['charge_id']).toBe(`ch_${paymentId}`)
  })
}

test('a reason that is no code is not shown to the customer', async () => {
  const { id } = await buy(attacker, lines, 'tok_script')
  const ended = await eventuallyOrder(id, { status: 'cancelled' })
  expect(JSON.stringify(ended)).not.toContain('script')
})

test('nobody inside was asked, nothing is parked, and no order shows what the provider said', async () => {
  await Promise.all(orders.map(({ id }) => eventuallyOrder(id, { status: 'confirmed' })))
  expect(reached).toBe(0)
  expect(app.app.hosted.payments.outboxAgeMs()).toBeLessThan(60_000)
  const { body } = await client.send('GET', '/ops/dead-letters', { token: operator })
  const letters = JSON.stringify(body)
  for (const { id } of orders) expect(letters).not.toContain(id)
  const seen = await client.send('GET', '/orders?limit=100', { token: attacker.token })
  expect(JSON.stringify(seen.body)).not.toMatch(/sk_live|<h1>|script/)
})
