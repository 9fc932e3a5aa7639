import type { Run } from '../postgres.ts'

const insertRows = `insert into inbox (consumer, message_id)
  select $1, message_id from unnest($2::uuid[]) as message_id
  on conflict do nothing
  returning message_id`

/**
 * Records the messages as handled by `consumer`, in the transaction of their effect, and returns, in their order, those
 * that were not recorded before; one statement, whatever their number.
 */
export const admit = async <Item>(
  run: Run,
  consumer: string,
  items: Item[],
  idOf: (item: Item) => string,
): Promise<Item[]> => {
  const byId = new Map<string, Item>()
  for (const item of items) {
    const id = idOf(item).toLowerCase()
    if (!byId.has(id)) byId.set(id, item)
  }
  const rows = await run(insertRows, [consumer, `{${[...byId.keys()].join(',')}}`])
  const fresh = new Set(rows.map((row) => row['message_id']))
  return [...byId].filter(([id]) => fresh.has(id)).map(([, item]) => item)
}
