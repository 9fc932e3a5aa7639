import { cpus, totalmem } from 'node:os'
import { parseConfig, parseMigrateConfig } from '../../src/config.ts'
import { createLog } from '#platform/log'
import { openPostgres } from '#platform/postgres'
import { migrate } from '../migrate.ts'
import { servicesRemove, servicesUp } from '../services/index.ts'
import type { Bench } from './scenario.ts'

const profile = 'bench'

/** Addresses that are set in the environment are left alone: the scenarios truncate tables and flush nothing else's data. */
const withoutServices = () => {
  const { DATABASE_URL: _, KAFKA_BROKERS: __, REDIS_URL: ___, ...rest } = process.env
  return rest
}

export type Length = { quick: boolean; progress: (line: string) => void }

/** Runs `work` with Postgres, broker and Redis that are empty at first and go afterwards. */
export const withBench = async ({ quick, progress }: Length, work: (bench: Bench) => Promise<void>): Promise<void> => {
  await servicesRemove(profile)
  try {
    const services = await servicesUp(profile, { env: withoutServices(), progress })
    const environment = {
      ...withoutServices(),
      ...services,
      NODE_ENV: 'production',
      LOG_LEVEL: 'info',
      HOST: '127.0.0.1',
    }
    await migrate(parseMigrateConfig(environment), () => undefined)
    const log = createLog({ level: 'error', readable: true })
    const length = quick ? { runs: 2, seconds: 1 } : { runs: 5, seconds: 5 }
    await work({ environment, config: parseConfig(environment), ...length, quick, log, progress })
  } finally {
    await servicesRemove(profile)
  }
}

/** Runs a script of SQL as the owner of the database. */
export const asOwner = async ({ environment }: Pick<Bench, 'environment'>, script: string): Promise<void> => {
  const owner = openPostgres({ url: environment['DATABASE_URL'] ?? '', name: 'bench-owner', poolSize: 1 })
  try {
    for (const statement of script.split(';').filter((part) => part.trim())) await owner.script(statement)
  } finally {
    await owner.close()
  }
}

const output = async (...command: string[]): Promise<string> => {
  try {
    const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'ignore' })
    return (await new Response(child.stdout).text()).trim()
  } catch {
    return ''
  }
}

/** What the figures were measured on. */
export const machine = async () => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memoryMiB: Math.round(totalmem() / 2 ** 20),
  platform: `${process.platform} ${process.arch}`,
  bun: Bun.version,
  java: (await output('sh', '-c', 'java -version 2>&1')).split('\n')[0] ?? '',
  commit: await output('git', 'rev-parse', 'HEAD'),
  changed: (await output('git', 'status', '--porcelain', '--untracked-files=no')) !== '',
})
