import { type Invariant, broken, apart, nullable, text } from './invariant.ts'

/** Each answers with a sentence, the id of what has not ended, and that of what it belongs to. */
const questions: { module: 'orders' | 'payments'; statement: string }[] = [
  {
    module: 'orders',
    statement: `select format('order %s is pending since %s', id, created_at) as line, id, checkout_id as other
      from orders where status = 'pending'`,
  },
  {
    module: 'orders',
    statement: `select format('%s %s is %s since %s', name, id, status, updated_at) as line, id, reply_key as other
      from sagas where status not in ('completed', 'compensated', 'needs-operator')`,
  },
  {
    module: 'orders',
    statement: `select format('checkout %s is %s, and its order %s is %s', sagas.id, sagas.status, reply_key, coalesce(orders.status, 'not there')) as line,
        sagas.id, reply_key as other
      from sagas left join orders on orders.id = case when name = 'checkout' then reply_key::uuid end where name = 'checkout' and (
        sagas.status = 'completed' and coalesce(orders.status, 'pending') = 'pending'
        or sagas.status = 'compensated' and orders.status <> 'cancelled')`,
  },
  {
    module: 'payments',
    statement: `select format('payment %s of order %s is pending since %s', id, order_id, created_at) as line, id, order_id as other
      from payments where status = 'pending'`,
  },
  {
    module: 'payments',
    statement: `select format('payment %s of order %s was to be refunded and is still captured', id, order_id) as line, id, order_id as other
      from payments where status = 'captured' and refund_asked`,
  },
  {
    module: 'payments',
    statement: `select format('%s %s is running since %s: %s of %s done', kind, id, created_at, done, total) as line, id, null as other
      from jobs where status = 'running'`,
  },
]

export const endings: Invariant = {
  name: 'every order is confirmed or cancelled, every checkout completed, compensated or waiting for an operator, every payment and settlement ended',
  check: async function* ({ databases }, waiting) {
    for (const { module, statement } of questions) {
      for (const row of await databases[module].run(`${statement} order by id limit 1000`)) {
        const line = text(row, 'line')
        yield waiting.about(text(row, 'id'), nullable(row, 'other')) ? apart(line) : broken(line)
      }
    }
  },
}
