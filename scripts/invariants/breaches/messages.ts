import { expect } from 'bun:test'
import { eventually } from '../../../src/test/eventually.ts'
import type { Breach, Breaches, Planting, PlantingOn } from './planting.ts'
import type { SystemAtRest } from './system-at-rest.ts'

/** A message that waits in a module's outbox, with no relay at work. */
export const outboxRow = ({ change }: PlantingOn, module: string, id: string): Planting =>
  change(
    `insert into ${module}.outbox
        (shard, message_id, topic, key, type, source, subject, occurred_at, correlation_id, causation_id, value)
      values (0, '${id}', 'x', 'x', 'x.y.v1', 'x', 'x', 'now', 'x', 'x', '{}')`,
    `delete from ${module}.outbox where message_id = '${id}'`,
  )

const timer = ({ change }: PlantingOn, id: string, due: string, attempts: number): Planting =>
  change(
    `insert into payments.timers (kind, key, due_at, attempts, data, correlation_id, causation_id)
      values ('charge', '${id}', clock_timestamp() + interval '${due}', ${attempts}, '{}', 'x', 'x')`,
    `delete from payments.timers where key = '${id}'`,
  )

/** A message on a topic that these groups have not come to. */
const unhandled = ({ sources: { broker }, done }: SystemAtRest, topic: string, groups: string[]): Planting => ({
  plant: async () => {
    const producer = broker.producer()
    const headers = { ce_specversion: '1.0', ce_id: Bun.randomUUIDv7(), ce_type: 'users.from-tomorrow.v1' }
    await producer.send([{ topic, key: done.user, value: '{}', headers }])
    await producer.close()
  },
  mend: async () => {
    const reading = groups.map((group) => broker.subscribe({ group, topic, handle: () => Promise.resolve() }))
    await Promise.all(reading.map(({ start }) => start()))
    for (const group of groups) await eventually(async () => expect(await broker.lag(group, topic)).toEqual([]), 30_000)
    await Promise.all(reading.map(({ stop }) => stop()))
  },
})

/** What is left, late, lost, or there twice. */
export const wrongMessages = (system: SystemAtRest, planting: PlantingOn): Breaches => {
  const { about, change, changePayment, removal } = planting
  const { user, settled } = system.done
  const [{ id: checkout } = { id: '' }] = system.done.completed
  const [late, failing, silent] = [Bun.randomUUIDv7(), Bun.randomUUIDv7(), Bun.randomUUIDv7()]

  const inOutboxOf = (module: string): Breach => {
    const id = Bun.randomUUIDv7()
    return { says: [`${module}: x.y.v1 ${id} of x is in the outbox`], ...outboxRow(planting, module, id) }
  }
  const raise = (table: string, column: string, where: string) =>
    change(
      `update ${table} set ${column} = ${column} + 1 where ${where}`,
      `update ${table} set ${column} = ${column} - 1 where ${where}`,
    )

  return {
    'one that is left in the outbox of users': inOutboxOf('users'),
    'one that is left in the outbox of orders': inOutboxOf('orders'),
    'one that is left in the outbox of payments': inOutboxOf('payments'),
    'one that no consumer has handled': {
      says: ['users.user-events: 1 messages of user-events/', 'orders.user-events: 1 messages of user-events/'],
      ...unhandled(system, 'user-events', ['users.user-events', 'orders.user-events']),
    },
    'a timer that nobody fires': {
      says: [`payments: charge ${late} was due at`],
      ...timer(planting, late, '-1 minute', 0),
    },
    'a call that fails each time': {
      says: [`payments: charge ${failing} was due at`, 'was tried 4 times'],
      ...timer(planting, failing, '1 minute', 4),
    },
    'a change of a user without its event': {
      says: [`user-events: user ${user} has version 2, and its event 2 is missing`],
      ...raise('users.users', 'version', `id = '${user}'`),
    },
    'a change of a product without its event': {
      says: ['order-events: product jam has version 3, and its event 3 is missing'],
      ...raise('orders.products', 'sequence', `sku = 'jam'`),
    },
    'a change of a checkout without its event': {
      says: [`order-events: checkout ${checkout} has version `],
      ...raise('orders.sagas', 'version', `id = '${checkout}'`),
    },
    'an event of a change that was taken back': about(({ payment }) => ({
      says: [`payment-events: payment ${payment} has version 1 and an event 2`],
      ...changePayment(payment, 'version = version - 1', 'version = version + 1'),
    })),
    'a row that was never announced': {
      says: [`user-events: user ${silent} has version 1 and no event`],
      ...change(
        `insert into users.users (id, role, status, version, created_at) values ('${silent}', 'customer', 'closed', 1, now())`,
        `delete from users.users where id = '${silent}'`,
      ),
    },
    'events of a row that is not there': {
      says: [`user-events: ${system.done.leaver} has an event 2 and no row`],
      ...removal('users.users', system.done.leaver),
    },
    'a task that is counted twice': {
      says: [`settlement ${settled} counts 24 done and 0 failed of 24, and its tasks are 23, 1 and 24`],
      ...change(
        `update payments.job_tasks set status = 'failed' where job_id = '${settled}' and task = 0`,
        `update payments.job_tasks set status = 'done' where job_id = '${settled}' and task = 0`,
      ),
    },
    'a sum that is not that of its tasks': {
      says: [`settlement ${settled} does not sum up what its tasks say in EUR`],
      ...change(
        `update payments.jobs set result = replace(result::text, '"payments":', '"payments":1')::json where id = '${settled}'`,
        `update payments.jobs set result = replace(result::text, '"payments":1', '"payments":')::json where id = '${settled}'`,
      ),
    },
  }
}
