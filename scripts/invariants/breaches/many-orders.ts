import { Database } from 'bun:sqlite'
import type { Planting } from './planting.ts'
import type { SystemAtRest } from './system-at-rest.ts'

/** So many paid orders that every reader needs several pages; older than any retention, so that nobody asks for their events. */
export const manyOrders = ({ owner, ledger, done }: SystemAtRest, count: number): Planting => {
  const inLedger = async (work: (database: Database) => void) => {
    const database = new Database(ledger)
    database.transaction(() => work(database))()
    database.close()
  }
  return {
    plant: async () => {
      const line = JSON.stringify([{ sku: 'tea', name: 'Tea', quantity: 1, price: { amount: 499, currency: 'EUR' } }])
      await owner.script(`
        create table public.many as select gen_random_uuid() as id, gen_random_uuid() as payment from generate_series(1, ${count});
        insert into orders.orders
            (id, user_id, status, lines, total_amount, currency, payment_id, version, created_at, confirmed_at)
          select id, '${done.user}', 'confirmed', '${line}', 499, 'EUR', payment, 2, '2026-01-01', '2026-01-01' from public.many;
        insert into payments.payments
            (id, order_id, user_id, status, amount, currency, token, charge_id, version, created_at, captured_at)
          select payment, id, '${done.user}', 'captured', 499, 'EUR', 'tok_visa', 'ch_' || payment, 3, '2026-01-01', '2026-01-01'
          from public.many;
        update orders.products set added = added + ${count} where sku = 'tea'`)
      const rows = await owner.run('select payment from public.many')
      await inLedger((database) => {
        const insert = database.query(
          `insert into entries (kind, id, charge, amount, currency, reference, at) values ('capture', ?1, ?1, 499, 'EUR', ?2, 0)`,
        )
        for (const { payment } of rows) insert.run(`ch_${payment}`, String(payment))
      })
    },
    mend: async () => {
      await owner.script(`
        delete from orders.orders using public.many where orders.id = many.id;
        delete from payments.payments using public.many where payments.id = many.payment;
        update orders.products set added = added - ${count} where sku = 'tea';
        drop table public.many`)
      await inLedger((database) => database.run('delete from entries where at = 0'))
    },
  }
}
