import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseConfig, parseMigrateConfig } from '../../src/config.ts'
import { createLog } from '#platform/log'
import { openPostgres } from '#platform/postgres'
import { migrate } from '../migrate.ts'
import { ServiceFailure, servicesRemove, servicesUp } from '../services/index.ts'
import { tryLock } from '../services/lock.ts'
import { bulkheadFolder } from '../services/paths.ts'
import type { Bench } from './scenario.ts'

// Its folder goes with each run; the results, in .bulkhead/bench, stay.
const profile = 'bench-services'

/** Services that the environment names are left alone: the scenarios truncate tables. */
const withoutServices = () => {
  const { DATABASE_URL: _, KAFKA_BROKERS: __, REDIS_URL: ___, PAYMENT_PROVIDER_URL: ____, ...rest } = process.env
  return rest
}

/** Where results and the log of the measured servers are kept. */
export const resultsFolder = join(bulkheadFolder, 'bench')

export type Length = { quick: boolean; progress: (line: string) => void }

/** Runs `work` with Postgres, broker and Redis that are empty at first and go afterwards, also on Ctrl-C. */
export const withBench = async ({ quick, progress }: Length, work: (bench: Bench) => Promise<void>): Promise<void> => {
  const lock = tryLock('bench-run')
  if (!lock) throw new ServiceFailure('Another bench runs in this clone; two at once would measure each other.')
  const interrupted = () => void servicesRemove(profile).finally(() => process.exit(130))
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
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
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
    lock.release()
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
