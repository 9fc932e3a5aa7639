import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { StartError, UnavailableError, certificateFault, isTransient, messageOf } from './errors.ts'
import { type Postgres, openPostgres } from './postgres.ts'
import { sleep } from './retry.ts'
import type { Trusted } from './tls.ts'

type Migration = { name: string; text: string; checksum: string }

const root = join(import.meta.dir, '../../db')

/** The migrations of a module in the order they run: those of the platform first, then its own. */
export const migrationsOf = async (module: string): Promise<Migration[]> => {
  const migrations: Migration[] = []
  for (const folder of ['platform', module]) {
    const files = (await readdir(join(root, 'migrations', folder))).filter((file) => file.endsWith('.sql')).toSorted()
    for (const file of files) {
      const text = await Bun.file(join(root, 'migrations', folder, file)).text()
      const checksum = new Bun.CryptoHasher('sha256').update(text).digest('hex')
      migrations.push({ name: `${folder}/${file}`, text, checksum })
    }
  }
  return migrations
}

export type MigrateOptions = {
  module: string
  /** The connection of the owner, who may create roles and schemas. */
  ownerUrl: string
  /** The connection of the module's own role; the password in it is given to the role. */
  moduleUrl: string
  report: (line: string) => void
} & Trusted

const lockTimeout = '20s'

/**
 * Brings a module's role, schema and tables to this release. Safe to run twice, and from two processes at once: the
 * second waits up to 20 s for the first. Each file is one transaction that waits at most 5 s for a table's lock.
 * @throws StartError when a file that was applied has been changed since, or the lock does not come.
 */
export const migrateModule = async (options: MigrateOptions): Promise<void> => {
  const { module, ownerUrl, moduleUrl, report, ca } = options
  const { username, password } = new URL(moduleUrl)
  if (decodeURIComponent(username) !== module) {
    throw new StartError(
      `${module.toUpperCase()}_DATABASE_URL must sign in as the role ${module}, not as ${username || 'nobody'}.`,
    )
  }
  const owner = openPostgres({ url: ownerUrl, name: `migrate-${module}`, poolSize: 1, ca })
  try {
    await owner.transaction(async ({ run }) => {
      await run(`select set_config('lock_timeout', $1, true)`, [lockTimeout])
      await run(`select pg_advisory_xact_lock(hashtext('bulkhead migrate'), hashtext($1))`, [module])
      await createRole(owner, module, decodeURIComponent(password))
      for (const migration of await pending(owner, module)) {
        await apply(owner, module, migration)
        report(`${module}: ${migration.name}`)
      }
    })
  } catch (error) {
    if (error instanceof StartError) throw error
    refuseUntrusted(module, error)
    throw new StartError(`The schema ${module} could not be migrated: ${messageOf(error)}`, { cause: error })
  } finally {
    await owner.close()
  }
}

/** Roles belong to the whole server, so another database's migration may touch them at the same moment. */
const createRole = async (owner: Postgres, module: string, password: string): Promise<void> => {
  const text = await Bun.file(join(root, 'roles.sql')).text()
  const settings = `select set_config('bulkhead.module', ${quoted(module)}, true), set_config('bulkhead.password', ${quoted(password)}, true)`
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await owner.script(`begin; ${settings}; ${text}; commit`)
    } catch (error) {
      await owner.script('rollback')
      if (
        attempt >= 5 ||
        !(isTransient(error) || /concurrently updated|already exists|duplicate key/.test(messageOf(error)))
      )
        throw error
      await sleep(100 * attempt)
    }
  }
}

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`

const pending = async (owner: Postgres, module: string): Promise<Migration[]> => {
  const rows = await owner.run(`select name, checksum from "${module}".schema_migrations`)
  const applied = new Map(rows.map((row) => [row['name'], row['checksum']]))
  const migrations = await migrationsOf(module)
  for (const { name, checksum } of migrations) {
    if (applied.has(name) && applied.get(name) !== checksum) {
      throw new StartError(
        `The migration ${name} was applied to ${module} and changed afterwards: put it back and add a new file.`,
      )
    }
  }
  return migrations.filter(({ name }) => !applied.has(name))
}

const apply = async (owner: Postgres, module: string, { name, text, checksum }: Migration): Promise<void> => {
  const record = `insert into "${module}".schema_migrations (name, checksum) values (${quoted(name)}, ${quoted(checksum)})`
  try {
    await owner.script(
      `begin; set local lock_timeout = '5s'; set local search_path = "${module}"; ${text}; ${record}; commit`,
    )
  } catch (error) {
    await owner.script('rollback')
    throw new StartError(`The migration ${name} failed in ${module}: ${messageOf(error)}`, { cause: error })
  }
}

const refuseUntrusted = (module: string, error: unknown) => {
  const fault = certificateFault(error)
  if (fault !== undefined)
    throw new StartError(`The Postgres of ${module} is not trusted: its certificate ${fault}.`, { cause: error })
}

/** Refuses a schema that is older or newer than this release. @throws StartError saying what to run. */
export const checkSchemaVersion = async (module: string, postgres: Pick<Postgres, 'run'>): Promise<void> => {
  const rows = await postgres
    .run('select name, checksum from schema_migrations order by name')
    .catch((error: unknown) => {
      refuseUntrusted(module, error)
      if (isTransient(error))
        throw new UnavailableError(`The Postgres of ${module} does not answer: ${messageOf(error)}`, { cause: error })
      throw new StartError(
        `The schema ${module} is not there or not readable (${messageOf(error)}): run "bun run migrate" first.`,
      )
    })
  const expected = new Map((await migrationsOf(module)).map(({ name, checksum }) => [name, checksum]))
  const missing = [...expected.keys()].filter((name) => !rows.some((row) => row['name'] === name))
  if (missing.length > 0)
    throw new StartError(`The schema ${module} lacks ${missing.join(', ')}: run "bun run migrate" first.`)
  const foreign = rows.filter((row) => expected.get(String(row['name'])) !== row['checksum'])
  if (foreign.length > 0) {
    const names = foreign.map((row) => String(row['name'])).join(', ')
    throw new StartError(
      `The schema ${module} has ${names}, which this release does not know: start the release that it belongs to.`,
    )
  }
}
