import { createLog } from '#platform/log'
import { createApp } from '../app.ts'
import { type Environment, parseConfig } from '../config.ts'
import { createClient } from './client.ts'

/** Another process's faces on the same modules, in this process: it answers requests, and does nothing by itself. */
export const openInstance = async (environment: Environment) => {
  const app = createApp(parseConfig(environment), createLog({ level: 'silent', readable: false }))
  await app.connected()
  const server = app.serve()
  const url = server.url.href.replace(/\/$/, '')
  return {
    app,
    url,
    client: createClient(url),
    close: async () => {
      await server.stop(true)
      await app.stop()
    },
  }
}
