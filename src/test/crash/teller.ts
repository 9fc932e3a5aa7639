import { expect } from 'bun:test'
import { z } from 'zod'
import type { Answer, Sent } from '../client.ts'
import { eventually } from '../eventually.ts'
import { patienceMs } from '../shop.ts'
import type { World } from './world.ts'

const entity = z.looseObject({ id: z.uuid() })

/** What a client that outlives the process does: it asks again until it is answered, and never loses its patience. */
export const createTeller = (world: World) => {
  const { shop } = world
  const asked: { path: string; sent: Sent; answer: Answer }[] = []

  const insist = (method: string, path: string, sent: Sent, statuses: number[]): Promise<Answer> =>
    eventually(async () => {
      const answer = await shop.client.send(method, path, sent)
      if (!statuses.includes(answer.status)) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
      return answer
    }, patienceMs)

  return {
    world,
    operator: shop.operator,
    paymentOf: (orderId: string) =>
      eventually(async () => {
        const payment = await shop.paymentOf(orderId)
        if (!payment) throw new Error(`The order ${orderId} has no payment.`)
        return payment.id
      }, patienceMs),
    insist,
    /** A command under a key, so that it may be repeated; answers with what it made. */
    command: async (path: string, token: string, body?: unknown, statuses = [202]) => {
      const sent: Sent = { token, headers: { 'idempotency-key': Bun.randomUUIDv7() }, ...(body ? { body } : {}) }
      const answer = await insist('POST', path, sent, statuses)
      asked.push({ path, sent, answer })
      return statuses.includes(202) ? entity.parse(answer.body) : undefined
    },
    /** Reads until it is as expected. */
    until: (path: string, expected: object, token = shop.operator) =>
      eventually(async () => {
        const { status, body } = await shop.client.send('GET', path, { token })
        expect({ status, body }).toMatchObject({ status: 200, body: expected })
        return entity.parse(body)
      }, patienceMs),
    /** Asks everything again, and expects the answers that were given. */
    repeat: async () => {
      for (const { path, sent, answer } of asked) {
        const { status, headers, body } = await shop.client.send('POST', path, sent)
        expect({ status, body }).toEqual({ status: answer.status, body: answer.body })
        expect(headers.get('location')).toBe(answer.headers.get('location'))
      }
    },
  }
}

export type Teller = ReturnType<typeof createTeller>
