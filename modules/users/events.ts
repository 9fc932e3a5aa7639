import { z } from 'zod'
import { defineEvent, defineRestatement, eventTopic } from '#platform/messaging/message'

/** What happens to users, keyed by user id. No event holds a name or an email: who needs them asks the users module. */
export const userEvents = eventTopic('users', 'user-events', 'the id of the user')

export const userRegistered = defineEvent(
  userEvents,
  'users.user-registered.v1',
  z.object({ userId: z.uuid(), role: z.enum(['customer', 'operator']), registeredAt: z.iso.datetime() }),
)

export const userRenamed = defineEvent(userEvents, 'users.user-renamed.v1', z.object({ userId: z.uuid() }))

export const userClosed = defineEvent(userEvents, 'users.user-closed.v1', z.object({ userId: z.uuid() }))

/** What a user is now, for whoever has missed what happened to it. */
export const userRestated = defineRestatement(
  userEvents,
  'users.user-restated.v1',
  z.object({
    userId: z.uuid(),
    role: z.enum(['customer', 'operator']),
    status: z.enum(['active', 'closed']),
    registeredAt: z.iso.datetime(),
  }),
)
