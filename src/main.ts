import { createApp } from './app.ts'
import { parseConfig } from './config.ts'
import { StartError, UnavailableError } from '#platform/errors'
import { stopOnSignals } from '#platform/lifecycle'
import { createLog } from '#platform/log'

/** The exporter is loaded by those who want it. */
const startTracing = async (endpoint: string | undefined) =>
  endpoint === undefined
    ? { stop: () => Promise.resolve() }
    : (await import('#platform/tracing-export')).startTracing(endpoint)

const start = async () => {
  const config = parseConfig(process.env)
  const log = createLog({ level: config.LOG_LEVEL, readable: config.NODE_ENV === 'development' })
  const tracing = await startTracing(config.OTEL_EXPORTER_OTLP_ENDPOINT)
  const app = createApp(config, log)
  await app.check()
  const server = app.serve()
  stopOnSignals({ log, timeoutMs: 10_000, steps: [() => app.stopServing(server), app.stop, tracing.stop] })
  await app.start()
  log.info({ url: server.url.href }, 'serving')
}

start().catch((error: unknown) => {
  console.error(error instanceof StartError || error instanceof UnavailableError ? error.message : error)
  process.exit(1)
})
