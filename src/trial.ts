import { createApp } from './app.ts'
import { parseConfig } from './config.ts'
import { createLog } from '#platform/log'
import { beTried } from '#platform/messaging/trial'

// Started by a process that found a message which another died with, to handle that message and nothing else.

await beTried(async () => {
  const config = parseConfig(process.env)
  const app = createApp(config, createLog({ level: config.LOG_LEVEL, readable: config.NODE_ENV === 'development' }))
  await app.connected()
  return app.attempt
})
