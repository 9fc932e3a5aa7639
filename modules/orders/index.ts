import type { ModuleDefinition } from '#platform/module'
import { orderEvents } from './events.ts'

export const orders: ModuleDefinition<'orders'> = {
  name: 'orders',
  topics: [orderEvents],
  snapshots: [],
  consumers: () => [],
}
