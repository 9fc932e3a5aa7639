import { randomBytes } from 'node:crypto'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { interrupted, ServiceFailure } from './failure.ts'
import { withLock } from './lock.ts'
import { pidFile, profileFolder, serviceFolder } from './paths.ts'
import type { PostgresHome } from './postgres-home.ts'
import { runningProcess, stopProcess } from './process.ts'
import type { Job } from './service.ts'
import { postgresSettings } from './settings.ts'

const { user, database, version } = postgresSettings

// Postgres takes its defaults from PG* variables and the locale, so it gets an environment of its own.
export const postgresVariables = { LC_ALL: 'C', TZ: 'UTC' }

const run = async (home: PostgresHome, program: string, args: string[], job: Job, input?: string) => {
  const command = program === 'cp' ? program : join(home.programs, 'bin', program)
  const child: ChildProcess = spawn(command, args, {
    cwd: '/',
    env: { PATH: process.env['PATH'], ...postgresVariables },
    stdio: ['pipe', 'pipe', 'pipe'],
    signal: job.signal,
    ...home.account,
  })
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stdin?.end(input ?? '')
  const code = await new Promise<number | null>((resolve) => {
    child.on('error', () => resolve(null))
    child.on('close', resolve)
  })
  if (job.signal.aborted) throw interrupted()
  if (code !== 0) {
    const last = output.trim().split('\n').at(-1) ?? ''
    throw new ServiceFailure(`Postgres' data could not be laid out: ${command} ended with code ${code}: ${last}`)
  }
}

const own = (home: PostgresHome, folder: string) => {
  chmodSync(folder, 0o700)
  if (home.account) chownSync(folder, home.account.uid, home.account.gid)
}

/** A cluster that has never run: copying one is far quicker than initdb. */
const template = (home: PostgresHome, job: Job): Promise<string> =>
  withLock(
    'postgres-template',
    async () => {
      const folder = join(home.folder, 'native', 'templates', `postgres-${version}`)
      if (existsSync(folder)) return join(folder, 'data')
      job.progress('Postgres: laying out an empty cluster, once')
      const partial = `${folder}.partial`
      rmSync(partial, { recursive: true, force: true })
      mkdirSync(partial, { recursive: true })
      own(home, partial)
      const data = join(partial, 'data')
      const password = join(partial, 'password')
      writeFileSync(password, randomBytes(24).toString('base64url'))
      const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
      const authentication = ['--auth=scram-sha-256', `--username=${user}`, `--pwfile=${password}`]
      await run(home, 'initdb', ['--no-sync', ...locale, ...authentication, '-D', data], job)
      await run(home, 'postgres', ['--single', '-D', data, 'postgres'], job, `create database ${database}\n`)
      rmSync(password)
      renameSync(partial, folder)
      return join(folder, 'data')
    },
    { signal: job.signal },
  )

/** The folder of this profile's Postgres, always reached as `.bulkhead/<profile>/postgres`. */
const layOutFolder = async (home: PostgresHome, job: Job): Promise<string> => {
  const inside = serviceFolder(job.profile, 'postgres')
  const here = join(home.folder, job.profile, 'postgres')
  mkdirSync(profileFolder(job.profile), { recursive: true })
  const present = lstatSync(inside, { throwIfNoEntry: false })
  // A clone that was copied or moved brings along a link to another clone's data.
  if (present?.isSymbolicLink() && readlinkSync(inside) !== here) rmSync(inside)
  if (here !== inside && !lstatSync(inside, { throwIfNoEntry: false })?.isSymbolicLink()) {
    // Without its link, what lies outside belongs to a `.bulkhead` that was deleted.
    const leftover = runningProcess(join(here, 'pid'))
    if (leftover) await stopProcess(leftover, 'SIGINT', 10_000)
    rmSync(here, { recursive: true, force: true })
    mkdirSync(dirname(here), { recursive: true })
    chmodSync(dirname(here), 0o755)
    if (present?.isDirectory()) spawnSync('mv', [inside, here])
    symlinkSync(here, inside)
    job.progress(`Postgres: its user cannot enter this clone, so its data is in ${here}`)
  }
  mkdirSync(here, { recursive: true })
  own(home, here)
  return here
}

/**
 * Lets a server that was killed be followed by another. Postgres refuses to start while the process that its lock file
 * names exists, even as a zombie, or as a stranger who got the id after a reboot. It makes an exception for its parent,
 * so its parent is put there. The rest of the file stays: by it Postgres finds out about sessions that outlived the server.
 */
const disownStaleLock = (profile: string, data: string) => {
  const lock = join(data, 'postmaster.pid')
  const ours = pidFile(profile, 'postgres')
  if (!existsSync(lock) || !existsSync(ours) || runningProcess(ours)) return
  const [pid, ...rest] = readFileSync(lock, 'utf8').split('\n')
  const [former] = readFileSync(ours, 'utf8').split('\n')
  if (pid === former) writeFileSync(lock, [process.pid, ...rest].join('\n'))
}

/** Removes what starts that were killed have left, as far as nobody writes there any more. */
const removePartials = (folder: string) => {
  for (const name of readdirSync(folder).filter((name) => name.startsWith('data.partial-'))) {
    try {
      rmSync(join(folder, name), { recursive: true, force: true })
    } catch {
      // It goes with the next start, or with the profile.
    }
  }
}

/** Makes the data of a profile when there is none. Returns its folder. */
export const layOutPostgres = async (home: PostgresHome, job: Job): Promise<string> => {
  const folder = await layOutFolder(home, job)
  const data = join(folder, 'data')
  if (!existsSync(data)) {
    const empty = await template(home, job)
    // Of this process alone: what a start that was killed had begun to lay out, its children may still be writing.
    const partial = `${data}.partial-${process.pid}`
    removePartials(folder)
    await run(home, 'cp', ['-R', empty, partial], job)
    const setPassword = `alter role ${user} password '${job.secrets.postgres}'\n`
    await run(home, 'postgres', ['--single', '-D', partial, 'postgres'], job, setPassword)
    await run(home, 'initdb', ['--sync-only', '-D', partial], job)
    renameSync(partial, data)
  }
  disownStaleLock(job.profile, data)
  return data
}
