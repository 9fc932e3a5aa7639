import { type Invariant, apart, broken, text } from './invariant.ts'

/** What checkouts keep out of stock while no order of theirs counts it. */
const outside = `
  select sagas.id, sagas.status, line->>'sku' as sku, (line->>'quantity')::bigint as quantity
  from sagas left join orders on orders.id = (state->'data'->>'orderId')::uuid, json_array_elements(state->'data'->'lines') as line
  where name = 'checkout' and sagas.status in ('running', 'compensating', 'needs-operator')
    and (state->'data'->>'stockHeld')::boolean and coalesce(orders.status, 'cancelled') = 'cancelled'`

const unbalanced = `
  with of_orders as (
    select line->>'sku' as sku, sum((line->>'quantity')::bigint) as quantity
    from orders, json_array_elements(lines) as line
    where status in ('pending', 'confirmed') group by 1
  ),
  of_checkouts as (select sku, sum(quantity) as quantity from (${outside}) as outside group by 1),
  counted as (
    select sku, coalesce(stock, 0) as stock, coalesce(added, 0) as added, coalesce(of_orders.quantity, 0) as ordered,
      coalesce(of_checkouts.quantity, 0) as held
    from products full join of_orders using (sku) full join of_checkouts using (sku)
  )
  select * from counted where stock + ordered + held <> added order by sku limit 1000`

export const stock: Invariant = {
  name: 'for each product: stock now + quantity in pending and confirmed orders = all stock ever added',
  check: async function* ({ databases: { orders } }) {
    for (const row of await orders.run(unbalanced)) {
      const [sku, added] = [text(row, 'sku'), text(row, 'added')]
      const parts = `${text(row, 'stock')} in stock + ${text(row, 'ordered')} in orders + ${text(row, 'held')} held by checkouts`
      yield broken(`product ${sku}: ${parts} is not ${added} added`)
    }
    for (const row of await orders.run(`${outside} and sagas.status = 'needs-operator' order by sagas.id limit 1000`)) {
      yield apart(`checkout ${text(row, 'id')} holds ${text(row, 'quantity')} of ${text(row, 'sku')}`)
    }
  },
}
