import * as ordersEvents from '#events/orders'
import * as paymentsEvents from '#events/payments'
import * as usersEvents from '#events/users'
import { type Findings, type Sources, broken, pages, text, uuids } from './invariant.ts'
import { followEvents } from './follow-events.ts'
import { readTopic } from './read-topic.ts'

/** What a topic's keys name: rows of `id`, `version`, and whether they are `fresh`, younger than any retention. */
type Rows = { thing: string; statement: string; first: string }

const rowsOf = (thing: string, table: string): Rows => ({
  thing,
  first: uuids.first,
  statement: `select id, version, created_at > now() - interval '1 hour' as fresh from ${table} where id > $1 order by id limit $2`,
})

const products: Rows = {
  thing: 'product',
  first: '',
  statement: 'select sku as id, sequence as version, false as fresh from products where sku > $1 order by sku limit $2',
}

type Followed = { module: keyof Sources['databases']; topic: string; events: object; rows: Rows[] }

const followed: Followed[] = [
  { module: 'users', topic: usersEvents.userEvents.name, events: usersEvents, rows: [rowsOf('user', 'users')] },
  {
    module: 'orders',
    topic: ordersEvents.orderEvents.name,
    events: ordersEvents,
    rows: [rowsOf('order', 'orders'), rowsOf('checkout', 'sagas'), products],
  },
  {
    module: 'payments',
    topic: paymentsEvents.paymentEvents.name,
    events: paymentsEvents,
    rows: [rowsOf('payment', 'payments'), rowsOf('settlement', 'jobs')],
  },
]

const typesOf = (events: object): Set<string> =>
  new Set(
    Object.values(events).flatMap((event: { type?: unknown }) => (typeof event.type === 'string' ? [event.type] : [])),
  )

const most = 1_000

/** Reads a topic to its end; `wrong` is what its order, or a number that two events have, gives away. */
const follow = async ({ broker }: Sources, { topic, events }: Followed) => {
  const wrong: string[] = []
  const { take, compare, left } = followEvents(typesOf(events))
  const { cut } = await readTopic(broker, topic, (record, place) => {
    const line = take(record, place.cut)
    if (line && wrong.length < most) wrong.push(line)
  })
  return { wrong, compare, left, cut }
}

/**
 * The events of each aggregate are as many as its row has versions: none was lost or swapped, none was sent for what rolled
 * back, and no message had a second effect that made an event.
 */
export async function* sequences(sources: Sources): Findings {
  const read = await Promise.all(followed.map(async (each) => ({ ...each, ...(await follow(sources, each)) })))
  for (const { module, topic, rows, wrong, compare, left, cut } of read) {
    for (const line of wrong) yield broken(`${topic}: ${line}`)
    for (const { thing, statement, first } of rows) {
      for await (const page of pages(sources.databases[module].run, statement, { first })) {
        for (const row of page) {
          const [id, version] = [text(row, 'id'), Number(row['version'])]
          const none = row['fresh'] === true && !cut ? [`has version ${version} and no event`] : []
          for (const line of compare(id, version) ?? none) yield broken(`${topic}: ${thing} ${id} ${line}`)
        }
      }
    }
    for (const { key, last } of left()) yield broken(`${topic}: ${key} has an event ${last} and no row`)
  }
}
