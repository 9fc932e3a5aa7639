import type { SystemAtRest } from './system-at-rest.ts'

/** How something wrong comes to be, and how it is put right. */
export type Planting = { plant: () => Promise<unknown>; mend: () => Promise<unknown> }

/** Something wrong, with what is said of it. */
export type Breach = Planting & { says: string[] }

export type Breaches = Record<string, Breach>

type Value = string | number | boolean | null

export type BoughtOrder = { id: string; payment: string }

/** Plants one after the other, and mends in the opposite order. */
export const both = (...parts: Planting[]): Planting => ({
  plant: async () => {
    for (const { plant } of parts) await plant()
  },
  mend: async () => {
    for (const { mend } of parts.toReversed()) await mend()
  },
})

/** Ways to plant something wrong in the databases of a system at rest. */
export const plantingOn = ({ owner, done }: SystemAtRest) => {
  const run = (text: string, parameters: Value[] = []) => owner.run(text, parameters)
  const confirmed = done.confirmed.values()

  /** One statement, and the one that takes it back. */
  const change = (forth: string, back: string): Planting => ({ plant: () => run(forth), mend: () => run(back) })

  const changeIn =
    (table: string) =>
    (id: string, forth: string, back: string): Planting =>
      change(`update ${table} set ${forth} where id = '${id}'`, `update ${table} set ${back} where id = '${id}'`)

  return {
    run,
    change,
    changeOrder: changeIn('orders.orders'),
    changePayment: changeIn('payments.payments'),
    moveStock: (sku: string, pieces: number): Planting => {
      const move = `update orders.products set stock = stock`
      return change(`${move} + ${pieces} where sku = '${sku}'`, `${move} - ${pieces} where sku = '${sku}'`)
    },

    /** A breach about a confirmed order that no other one is about. */
    about: (breach: (order: BoughtOrder) => Breach): Breach => {
      const { value } = confirmed.next()
      if (!value) throw new Error('There are not enough orders to break.')
      return breach(value)
    },

    /** Takes a row away, and puts it back. */
    removal: (table: string, id: string): Planting => {
      let kept: Value = null
      return {
        plant: async () => {
          const [row] = await run(`select to_json(row)::text as row from ${table} as row where id = $1`, [id])
          kept = row?.['row'] ?? null
          await run(`delete from ${table} where id = $1`, [id])
        },
        mend: () => run(`insert into ${table} select * from json_populate_record(null::${table}, $1)`, [kept]),
      }
    },

    /** Gives a saga another status, in its column and in its state, and other data. */
    saga: (id: string, { column, state, data = {} }: { column: string; state: string; data?: object }): Planting => {
      let kept: Value[] = []
      const set = (values: Value[]) =>
        run('update orders.sagas set status = $2, state = $3 where id = $1', [id, ...values])
      return {
        plant: async () => {
          const [row] = await run('select status, state::text as state from orders.sagas where id = $1', [id])
          kept = [row?.['status'] ?? null, row?.['state'] ?? null]
          const held = JSON.parse(String(row?.['state'])) as { data: object }
          await set([column, JSON.stringify({ ...held, status: state, data: { ...held.data, ...data } })])
        },
        mend: () => set(kept),
      }
    },

    /** Parks a message that names a payment and its order. */
    parked: (id: string, { payment, ...order }: BoughtOrder): Planting => ({
      plant: () =>
        run(
          `insert into orders.dead_letters (id, consumer, topic, key, type, headers, value, code, error, attempts, position)
            values ($1, 'orders.payment-events', 'payment-events', $2, 'payments.payment-refunded.v1', '{}',
              convert_to($3, 'UTF8'), 'fault', 'on purpose', 5, $4)`,
          [id, payment, JSON.stringify({ paymentId: payment, orderId: order.id }), `by hand ${id}`],
        ),
      mend: () => run('delete from orders.dead_letters where id = $1', [id]),
    }),
  }
}

export type PlantingOn = ReturnType<typeof plantingOn>
