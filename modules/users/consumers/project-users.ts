import { type ConsumerDefinition, onBatch } from '#platform/messaging/consumer'
import type { Snapshots } from '#platform/snapshots'
import { userClosed, userEvents, userRegistered, userRenamed, userRestated } from '../events.ts'

/** Keeps `users:user:<id>` in step: each event says which users changed, the tables say what they are now. */
export const projectUsers = (snapshots: Snapshots): ConsumerDefinition<'users'> => ({
  topic: userEvents,
  handlers: [
    onBatch([userRegistered, userRenamed, userClosed, userRestated], async ({ tx }, messages) => {
      await snapshots.project(tx, 'user', [...new Set(messages.map(({ subject }) => subject))])
    }),
  ],
})
