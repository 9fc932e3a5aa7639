import { type FSWatcher, watch } from 'node:fs'
import { createApp } from '../src/app.ts'
import { parseConfig, parseMigrateConfig } from '../src/config.ts'
import { StartError, messageOf } from '#platform/errors'
import { createLog } from '#platform/log'
import { migrate } from './migrate.ts'
import { seed } from './seed.ts'
import { type Environment, ServiceFailure, servicesDown, startServices } from './services/index.ts'

const readyWithinMs = 30_000
const settleMs = 150

type Server = { stop(): Promise<void> }

/** Starts the process and resolves when it is ready; rejects when it ends or stays unready. Tells when it ends later. */
const startServer = async (environment: Environment, url: string): Promise<Server> => {
  const child = Bun.spawn([process.execPath, 'src/main.ts'], { env: environment, stdout: 'inherit', stderr: 'inherit' })
  let stopping = false
  const stop = async () => {
    stopping = true
    child.kill('SIGTERM')
    await child.exited
  }
  const deadline = performance.now() + readyWithinMs
  while (!(await isReady(url))) {
    if (child.exitCode !== null) throw new StartError('The process ended before it was ready; it said why above.')
    if (performance.now() > deadline) {
      await stop()
      throw new StartError(`The process was not ready within ${readyWithinMs / 1_000} s; its log above may say why.`)
    }
    await Bun.sleep(50)
  }
  void child.exited.then((code) => {
    if (stopping) return
    const how = child.signalCode ? `was ended by ${child.signalCode}` : `ended with code ${code}`
    console.error(`The process ${how}. The services still run; it starts again when a source changes.`)
  })
  return { stop }
}

const isFree = (hostname: string, port: number): boolean => {
  try {
    Bun.listen({ hostname, port, socket: { data: () => undefined } }).stop(true)
    return true
  } catch {
    return false
  }
}

/** Puts the products on sale that are not there yet. */
const seedDevelopment = async (environment: Environment) => {
  const app = createApp(parseConfig(environment), createLog({ level: 'error', readable: true }))
  const id = Bun.randomUUIDv7()
  try {
    if (!app.hosted.orders) return
    const created = await seed(app.faces.orders.context({ correlationId: id, causationId: id }))
    if (created.length > 0) console.log(`seeded ${created.join(', ')}`)
  } finally {
    await app.stop()
  }
}

/** The port that was asked for, else the first free one from 3000 on. @throws StartError when the one asked for is taken */
const choosePort = (host: string, asked: string | undefined): number => {
  if (asked !== undefined) {
    if (isFree(host, Number(asked))) return Number(asked)
    throw new StartError(`Another program listens on ${host}:${asked}: stop it, or set PORT to a free port.`)
  }
  for (let port = 3000; port < 3100; port += 1) if (isFree(host, port)) return port
  throw new StartError(`No port from 3000 to 3099 is free on ${host}: set PORT to a free one.`)
}

const isReady = (url: string): Promise<boolean> =>
  fetch(`${url}/readyz`, { signal: AbortSignal.timeout(1_000) }).then(
    ({ ok }) => ok,
    () => false,
  )

/** Calls back, once things have settled, after a source or a migration changed. */
const watchSources = (changed: () => void): (() => void) => {
  let timer: Timer | undefined
  const watchers: FSWatcher[] = ['src', 'modules', 'db'].map((folder) =>
    watch(folder, { recursive: true }, () => {
      clearTimeout(timer)
      timer = setTimeout(changed, settleMs)
    }),
  )
  return () => {
    clearTimeout(timer)
    for (const watcher of watchers) watcher.close()
  }
}

const welcome = (environment: Environment, url: string): string => `
  Bulkhead is up.

  API        ${url}          pages: ${url}/docs   ${url}/graphql
  Postgres   ${withoutPassword(environment['DATABASE_URL'])}
  broker     ${environment['KAFKA_BROKERS']}
  Redis      ${withoutPassword(environment['REDIS_URL'])}
  provider   ${withoutPassword(environment['PAYMENT_PROVIDER_URL'])}

  Sign in as the operator:  ${environment['OPERATOR_EMAIL']}  ${environment['OPERATOR_PASSWORD']}

  Try:
  curl -i ${url}/users -H 'content-type: application/json' \\
    -d '{"name":"Ada","email":"ada@example.com","password":"correct horse"}'

  Sources are watched; Ctrl-C stops all of it.
`

const withoutPassword = (address: string | undefined): string => {
  if (!address) return 'as given'
  const url = new URL(address)
  url.password = ''
  return url.href
}

const dev = async () => {
  const stopping = new AbortController()
  const interrupted = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        stopping.abort()
        resolve()
      })
    }
  })
  const { environment: services, started } = await startServices('dev', {
    progress: (line) => console.log(line),
    signal: stopping.signal,
  })
  let server: Server | undefined
  try {
    const host = process.env['HOST'] ?? '127.0.0.1'
    const port = choosePort(host, process.env['PORT'])
    const environment: Environment = {
      NODE_ENV: 'development',
      ...process.env,
      ...services,
      HOST: host,
      PORT: String(port),
    }
    const url = `http://${host === '0.0.0.0' ? '127.0.0.1' : host}:${port}`
    const start = async () => {
      await migrate(parseMigrateConfig(environment), (line) => console.log(`migrated ${line}`))
      await seedDevelopment(environment)
      server = await startServer(environment, url)
    }
    await start()
    console.log(welcome(environment, url))

    let restarting: Promise<void> = Promise.resolve()
    const unwatch = watchSources(() => {
      restarting = restarting.then(async () => {
        console.log('Sources changed: starting again.')
        await server?.stop()
        server = undefined
        await start().catch((error: unknown) => console.error(`${messageOf(error)} Waiting for the next change.`))
      })
    })
    await interrupted
    unwatch()
    await restarting
  } finally {
    await server?.stop()
    if (started.length > 0) console.log(`Stopped ${(await servicesDown('dev')).join(', ')}; the data is kept.`)
  }
}

try {
  await dev()
  process.exit(0)
} catch (error) {
  console.error(error instanceof StartError || error instanceof ServiceFailure ? error.message : error)
  process.exit(error instanceof ServiceFailure ? error.exitCode : 1)
}
