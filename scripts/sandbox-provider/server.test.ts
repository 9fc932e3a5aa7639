import { afterAll, beforeAll, expect, test } from 'bun:test'
import { eventually } from '../../src/test/eventually.ts'
import { type Provider, providersOnOneFile } from './spawned.ts'

const { start, remove } = providersOnOneFile()
let provider: Provider
beforeAll(async () => {
  provider = await start()
})
afterAll(remove)

const codeOf = ({ body }: { body: Record<string, unknown> }) => (body['error'] as { code?: string } | undefined)?.code

const capturesOf = async (key: string) =>
  (await provider.entries()).filter(({ kind, reference }) => kind === 'capture' && reference === `payment-${key}`)

test('tok_visa captures, and the ledger has the entry', async () => {
  const { status, body, replayed } = await provider.charge('visa', 'tok_visa')
  expect({ status, replayed }).toEqual({ status: 201, replayed: false })
  const { id, createdAt } = body
  const charge = { status: 'captured', amount: 1999, currency: 'EUR', reference: 'payment-visa', declineCode: null }
  expect(body).toEqual({ id: expect.stringMatching(/^ch_/), createdAt: expect.any(String), ...charge })
  expect(await capturesOf('visa')).toEqual([
    {
      sequence: expect.any(Number),
      kind: 'capture',
      id,
      charge: id,
      amount: 1999,
      currency: 'EUR',
      reference: 'payment-visa',
      at: createdAt,
    },
  ])
})

test('tok_declined declines, and the ledger has no entry', async () => {
  const { status, body } = await provider.charge('declined', 'tok_declined')
  expect({ status, ...body }).toMatchObject({ status: 'declined', declineCode: 'card-declined' })
  expect(await capturesOf('declined')).toEqual([])
  expect((await provider.chargeOf('declined')).body).toEqual(body)
})

test('tok_flaky gives 503 twice for each key and then captures', async () => {
  for (const key of ['flaky-1', 'flaky-2']) {
    const answers = [await provider.charge(key, 'tok_flaky'), await provider.charge(key, 'tok_flaky')]
    expect(answers.map(({ status }) => status)).toEqual([503, 503])
    expect((await provider.chargeOf(key)).status).toBe(404)
    expect(await provider.charge(key, 'tok_flaky')).toMatchObject({ status: 201, body: { status: 'captured' } })
    expect(await capturesOf(key)).toHaveLength(1)
  }
})

test('tok_slow captures and answers two seconds later', async () => {
  const slow = provider.charge('slow', 'tok_slow')
  const charge = await eventually(async () => {
    const { status, body } = await provider.chargeOf('slow')
    expect(status).toBe(200)
    return body
  })
  expect(await slow).toMatchObject({ status: 201, body: charge })
  // A timer may be a moment early.
  expect(Date.now() - Date.parse(String(charge['createdAt']))).toBeGreaterThan(1_950)
})

test('tok_lost captures, its answer never arrives, and a retry or a look-up finds it', async () => {
  const lost = provider.charge('lost', 'tok_lost')
  expect(await lost.catch(() => 'nothing')).toBe('nothing')
  const { body } = await provider.chargeOf('lost')
  expect(body).toMatchObject({ status: 'captured', reference: 'payment-lost' })
  expect(await provider.charge('lost', 'tok_lost')).toEqual({ status: 201, replayed: true, body })
  expect(await capturesOf('lost')).toHaveLength(1)
})

test('a token that it does not know is refused, and leaves the key unused', async () => {
  const refused = await provider.charge('unknown', 'tok_amex')
  expect([refused.status, codeOf(refused)]).toEqual([422, 'unknown-token'])
  expect(await provider.charge('unknown', 'tok_visa')).toMatchObject({ status: 201, replayed: false })
})

test('the same key and body give the first answer again; another body is refused', async () => {
  for (const token of ['tok_visa', 'tok_declined']) {
    const key = `again-${token}`
    const first = await provider.charge(key, token)
    expect(await provider.charge(key, token)).toEqual({ ...first, replayed: true })
    for (const other of [{ amount: 2000 }, { currency: 'USD' }, { reference: 'another' }, { token: 'tok_slow' }]) {
      const refused = await provider.charge(key, token, other)
      expect([refused.status, codeOf(refused)]).toEqual([422, 'idempotency-key-reused'])
    }
    expect((await provider.chargeOf(key)).body).toEqual(first.body)
  }
})

test('another body is refused also while the key has no charge yet', async () => {
  expect((await provider.charge('early', 'tok_flaky')).status).toBe(503)
  expect(codeOf(await provider.charge('early', 'tok_flaky', { amount: 1 }))).toBe('idempotency-key-reused')
  expect((await provider.charge('early', 'tok_flaky')).status).toBe(503)
  expect((await provider.charge('early', 'tok_flaky')).status).toBe(201)
})

test('equal keys at the same moment give one capture', async () => {
  const answers = await Promise.all(Array.from({ length: 50 }, () => provider.charge('race', 'tok_visa')))
  expect(new Set(answers.map(({ body }) => body['id'])).size).toBe(1)
  expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1)
  expect(await capturesOf('race')).toHaveLength(1)
})

test('equal keys at the same moment give one capture also in two processes on one file', async () => {
  const other = await start()
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) => (index % 2 ? provider : other).charge('both', 'tok_visa')),
  )
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201))
  expect(new Set(answers.map(({ body }) => body['id'])).size).toBe(1)
  expect(await capturesOf('both')).toHaveLength(1)
})

test('a refund gives back once by its key, in parts up to the charge and no further', async () => {
  const { body: charge } = await provider.charge('refunded', 'tok_lost').catch(() => provider.chargeOf('refunded'))
  const part = await provider.refund('part', charge['id'], 1000)
  expect(part).toMatchObject({ status: 201, body: { charge: charge['id'], amount: 1000, status: 'refunded' } })
  expect(part.body).toMatchObject({ currency: 'EUR', reference: 'refund-part', id: expect.stringMatching(/^re_/) })
  const again = await Promise.all(Array.from({ length: 10 }, () => provider.refund('part', charge['id'], 1000)))
  expect(again).toEqual(again.map(() => ({ ...part, replayed: true })))
  expect((await provider.refundOf('part')).body).toEqual(part.body)

  const refused = await provider.refund('too-much', charge['id'], 1000)
  expect([refused.status, codeOf(refused)]).toEqual([422, 'exceeds-charge'])
  expect((await provider.refundOf('too-much')).status).toBe(404)
  expect((await provider.refund('rest', charge['id'], 999)).status).toBe(201)
  const refunds = (await provider.entries()).filter((entry) => entry['charge'] === charge['id'])
  expect(refunds.map(({ kind, amount }) => [kind, amount])).toEqual([
    ['capture', 1999],
    ['refund', 1000],
    ['refund', 999],
  ])
})

test('full refunds with different keys at the same moment give the money back once', async () => {
  const { body: charge } = await provider.charge('twice', 'tok_visa')
  const answers = await Promise.all([1, 2, 3, 4].map((key) => provider.refund(`twice-${key}`, charge['id'])))
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
  expect(answers.filter((answer) => codeOf(answer) === 'exceeds-charge')).toHaveLength(3)
})

test('an unknown charge and a declined one cannot be refunded', async () => {
  const unknown = await provider.refund('of-nothing', 'ch_nothing')
  expect([unknown.status, codeOf(unknown)]).toEqual([404, 'charge-not-found'])
  const { body } = await provider.charge('not-captured', 'tok_declined')
  const declined = await provider.refund('of-declined', body['id'])
  expect([declined.status, codeOf(declined)]).toEqual([422, 'not-captured'])
})

test('amounts are integers of minor units from 1 to 2^53 - 1, currencies three letters', async () => {
  const largest = await provider.charge('largest', 'tok_visa', { amount: 2 ** 53 - 1, currency: 'JPY' })
  expect(largest).toMatchObject({ status: 201, body: { amount: 2 ** 53 - 1, currency: 'JPY' } })
  expect((await provider.chargeOf('largest')).body['amount']).toBe(2 ** 53 - 1)
  for (const amount of [0, -1, 1.5, 2 ** 53, '1999', null])
    expect(codeOf(await provider.charge('wrong', 'tok_visa', { amount }))).toBe('invalid-request')
  for (const currency of ['eur', 'EURO', '', 978])
    expect(codeOf(await provider.charge('wrong', 'tok_visa', { currency }))).toBe('invalid-request')
})

test('what is no call of this API is refused in JSON', async () => {
  const post = (body: string, headers: Record<string, string> = { 'idempotency-key': 'bad' }) =>
    provider.call('/charges', { method: 'POST', headers, body })
  const refusals = [
    [await post('{"token":'), 400, 'invalid-json'],
    [await post('[]'), 400, 'invalid-request'],
    [await post('{}', {}), 400, 'idempotency-key-required'],
    [await post(JSON.stringify({ token: 'x'.repeat(20_000) })), 413, 'body-too-large'],
    [await provider.call('/charges'), 400, 'invalid-request'],
    [await provider.call('/charges?key=never-used'), 404, 'not-found'],
    [await provider.call('/charges', { method: 'DELETE' }), 405, 'method-not-allowed'],
    [await provider.call('/ledger?limit=0'), 400, 'invalid-request'],
    [await provider.call('/ledger/totals?from=yesterday'), 400, 'invalid-request'],
    [await provider.call('/elsewhere'), 404, 'not-found'],
  ] as const
  expect(refusals.map(([answer]) => [answer.status, codeOf(answer)])).toEqual(
    refusals.map(([, status, code]) => [status, code]),
  )
})
