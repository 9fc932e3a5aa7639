import { join } from 'node:path'
import type { Environment } from '../../src/config.ts'
import { freePort } from '../services/port.ts'
import { type AppProcess, createAppProcess, endLeftover } from './app-process.ts'
import { type Clock, createClock } from './clock.ts'
import { type Link, links } from './fault.ts'
import { type Gate, openGate } from './gate.ts'
import type { Stage } from './stage.ts'

/** A process, its own gates to the services behind which it stands, and its clock where it can be turned. */
export type App = AppProcess & { gates: Record<Link, Gate>; clock: Clock | undefined }

export type AppsOptions = {
  count: number
  stage: Stage
  folder: string
  clock: { preload: string } | undefined
  onCrash: (what: string) => void
}

/** Of the connections that Postgres has, each process gets so few that three, one dying beside its successor, have enough. */
const poolSize = '5'

const through = (url: string, gate: Gate): string => {
  const gated = new URL(url)
  gated.port = String(gate.port)
  return gated.href
}

const behindGates = (direct: Environment, gates: Record<Link, Gate>): Environment => {
  const gated = (variable: string, link: Link) => ({ [variable]: through(direct[variable] ?? '', gates[link]) })
  const { DATABASE_URL: _, ...rest } = direct
  return {
    ...rest,
    ...gated('USERS_DATABASE_URL', 'postgres'),
    ...gated('ORDERS_DATABASE_URL', 'postgres'),
    ...gated('PAYMENTS_DATABASE_URL', 'postgres'),
    ...gated('REDIS_URL', 'redis'),
    ...gated('PAYMENT_PROVIDER_URL', 'provider'),
  }
}

const create = async ({ stage, folder, clock: tool, onCrash }: AppsOptions, name: string): Promise<App> => {
  endLeftover(folder, name)
  const opened = await Promise.all(links.map(async (link) => [link, await openGate(() => stage.portOf(link))] as const))
  const gates = Object.fromEntries(opened) as Record<Link, Gate>
  const clock = tool && createClock(tool, join(folder, `${name}.clock`))
  const environment = {
    PATH: process.env['PATH'],
    ...behindGates(stage.environment(), gates),
    ...clock?.environment,
    NODE_ENV: 'production',
    HOST: '127.0.0.1',
    LOG_LEVEL: 'info',
    FLOW_DEADLINE_MS: '10000',
    DATABASE_POOL_SIZE: poolSize,
  }
  const port = await freePort()
  return { ...createAppProcess({ name, port, environment, folder, onCrash }), gates, clock }
}

/** The processes of a run, which are not started yet. */
export const createApps = async (options: AppsOptions): Promise<App[]> => {
  const apps: App[] = []
  for (let at = 0; at < options.count; at += 1) apps.push(await create(options, `app-${at}`))
  return apps
}
