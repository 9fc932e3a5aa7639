import { join, resolve } from 'node:path'
import * as orders from '#events/orders'
import * as payments from '#events/payments'
import * as users from '#events/users'
import { dataSchemaOf, messageTypesOf } from '#platform/messaging/catalogue'
import type { Published } from './breaches.ts'

const doors = { users, orders, payments }

const root = resolve(import.meta.dir, '../..')

/** The modules, each with what its `events.ts` declares, and where what it has published is kept. */
export const modules = Object.entries(doors).map(([name, door]) => ({
  name,
  path: join(root, 'modules', name, 'published.json'),
  declared: Object.fromEntries(
    messageTypesOf(door).map((message) => [message.type, { topic: message.topic.name, schema: dataSchemaOf(message) }]),
  ) satisfies Published,
}))

export const readPublished = async (path: string): Promise<Published> => {
  const file = Bun.file(path)
  return (await file.exists()) ? ((await file.json()) as Published) : {}
}
