import { type Invariant, text } from './invariant.ts'

export const endings: Invariant = {
  name: 'every order is confirmed or cancelled',
  check: async ({ databases: { orders } }) =>
    (await orders.run(`select id, created_at from orders where status = 'pending' order by id limit 100`)).map(
      (row) => `order ${text(row, 'id')} is pending since ${text(row, 'created_at')}`,
    ),
}
