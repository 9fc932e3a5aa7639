import { type Invariant, text } from './invariant.ts'

export const outboxes: Invariant = {
  name: 'nothing is left in an outbox',
  check: async ({ databases }) => {
    const found: string[] = []
    for (const [name, postgres] of Object.entries(databases)) {
      const rows = await postgres.run('select message_id, type from outbox order by id limit 100')
      for (const row of rows) found.push(`${name}: ${text(row, 'type')} ${text(row, 'message_id')}`)
    }
    return found
  },
}

export const lag: Invariant = {
  name: 'every consumer has handled what is on its topic',
  check: async ({ broker, hosted }) => {
    const found: string[] = []
    for (const { consumers } of Object.values(hosted)) {
      for (const { name, topic } of consumers) {
        for (const { partition, behind } of await broker.lag(name, topic)) {
          found.push(`${name}: ${behind} messages of ${topic}/${partition}`)
        }
      }
    }
    return found
  },
}

/** The effects that one message could have twice: two payments for one order cannot be inserted, two charges at the provider could. */
export const once: Invariant = {
  name: 'no order has two payments, and no payment two captures or refunds on record',
  check: async ({ databases: { payments } }) =>
    (await payments.run('select order_id from payments group by order_id having count(*) > 1')).map(
      (row) => `order ${text(row, 'order_id')} has several payments`,
    ),
}
