import { type Invariant, text } from './invariant.ts'

const unbalanced = `
  with held as (
    select line->>'sku' as sku, sum((line->>'quantity')::bigint) as quantity
    from orders, json_array_elements(lines) as line
    where status in ('pending', 'confirmed') group by 1
  )
  select sku, stock, coalesce(quantity, 0) as held, added from products left join held using (sku)
  where stock + coalesce(quantity, 0) <> added order by sku`

export const stock: Invariant = {
  name: 'stock now + quantity in pending and confirmed orders = all stock ever added',
  check: async ({ databases: { orders } }) =>
    (await orders.run(unbalanced)).map(
      (row) =>
        `${text(row, 'sku')}: ${text(row, 'stock')} in stock + ${text(row, 'held')} in orders is not ${text(row, 'added')} added`,
    ),
}
