import type { ModuleDefinition } from '#platform/module'
import { paymentCommands, paymentEvents, paymentTasks } from './events.ts'

export const payments: ModuleDefinition<'payments'> = {
  name: 'payments',
  topics: [paymentEvents, paymentCommands, paymentTasks],
  snapshots: [],
  consumers: () => [],
}
