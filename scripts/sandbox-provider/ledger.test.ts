import { afterEach, expect, test } from 'bun:test'
import { eventually } from '../../src/test/eventually.ts'
import { providersOnOneFile } from './spawned.ts'

const removals: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const remove of removals.splice(0)) await remove()
})

const onOneFile = () => {
  const { start, remove } = providersOnOneFile()
  removals.push(remove)
  return start
}

test('what was answered before a kill -9 is in the ledger after it, once', async () => {
  const start = onOneFile()
  const first = await start()
  const answered = new Map<string, unknown>()
  const lane = async (name: number) => {
    for (let call = 0; ; call += 1) {
      const key = `${name}-${call}`
      const answer = await first.charge(key, 'tok_visa').catch(() => undefined)
      if (answer) answered.set(key, answer.body['id'])
      else return
    }
  }
  const lanes = Array.from({ length: 8 }, (_, name) => lane(name))
  await eventually(() => expect(answered.size).toBeGreaterThan(200))
  first.child.kill('SIGKILL')
  await Promise.all(lanes)

  const second = await start()
  const captured = new Map((await second.entries()).map(({ id, reference }) => [reference, id]))
  expect(captured.size).toBe((await second.entries()).length)
  for (const [key, id] of answered) expect(captured.get(`payment-${key}`)).toBe(id)
  const [key, id] = [...answered][0] ?? []
  expect(await second.charge(key ?? '', 'tok_visa')).toMatchObject({ replayed: true, body: { id } })
})

test('a kill -9 does not make tok_flaky forget what it has failed, nor tok_lost what it has captured', async () => {
  const start = onOneFile()
  const first = await start()
  expect((await first.charge('flaky', 'tok_flaky')).status).toBe(503)
  await first.charge('lost', 'tok_lost').catch(() => undefined)
  first.child.kill('SIGKILL')
  await first.child.exited

  const second = await start()
  expect((await second.charge('flaky', 'tok_flaky')).status).toBe(503)
  expect((await second.charge('flaky', 'tok_flaky')).status).toBe(201)
  expect(await second.charge('lost', 'tok_lost')).toMatchObject({ status: 201, replayed: true })
})

test('a polite stop lets a call under way end', async () => {
  const provider = await onOneFile()()
  const slow = provider.charge('slow', 'tok_slow')
  await eventually(async () => expect((await provider.chargeOf('slow')).status).toBe(200))
  provider.child.kill('SIGTERM')
  expect(await slow).toMatchObject({ status: 201, body: { status: 'captured' } })
  expect(await provider.child.exited).toBe(0)
})

test('the ledger is read in pages, oldest first, each entry once', async () => {
  const provider = await onOneFile()()
  for (let charge = 1; charge <= 7; charge += 1)
    await provider.charge(`page-${charge}`, 'tok_visa', { amount: charge, reference: `r${charge}` })
  const pages: unknown[][] = []
  for (let after: string | null = '0'; after !== null;) {
    const { body } = await provider.call(`/ledger?after=${after}&limit=3`)
    pages.push((body['items'] as { reference: string }[]).map(({ reference }) => reference))
    after = body['nextCursor'] as string | null
  }
  expect(pages).toEqual([['r1', 'r2', 'r3'], ['r4', 'r5', 'r6'], ['r7']])
  expect((await provider.call('/ledger?after=7')).body).toEqual({ items: [], nextCursor: null })
})

test('totals are counted per currency over a period that holds its begin and not its end', async () => {
  const provider = await onOneFile()()
  const charge = async (key: string, amount: number, currency: string) => {
    const { body } = await provider.charge(key, 'tok_visa', { amount, currency })
    return body as { id: string; createdAt: string }
  }
  const first = await charge('t1', 100, 'EUR')
  const second = await charge('t2', 50, 'USD')
  await provider.charge('t3', 'tok_declined', { amount: 7 })
  await eventually(() => expect(Date.now()).toBeGreaterThan(Date.parse(second.createdAt)))
  const later = await charge('t4', 11, 'EUR')
  await provider.refund('t5', later.id, 10)

  const totals = async (query: Record<string, string>) =>
    (await provider.call(`/ledger/totals?${new URLSearchParams(query)}`)).body['totals']
  const inDollars = { currency: 'USD', captured: 50, refunded: 0, payments: 1 }
  expect(await totals({})).toEqual([{ currency: 'EUR', captured: 111, refunded: 10, payments: 2 }, inDollars])
  expect(await totals({ from: later.createdAt })).toMatchObject([
    { currency: 'EUR', captured: 11, refunded: 10, payments: 1 },
  ])
  expect(await totals({ from: first.createdAt, to: later.createdAt })).toEqual([
    { currency: 'EUR', captured: 100, refunded: 0, payments: 1 },
    inDollars,
  ])
  expect(await totals({ to: first.createdAt })).toEqual([])
})
