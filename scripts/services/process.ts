import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, realpathSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Server } from './service.ts'

/** Another user to run as; only root can. */
export type Account = { uid: number; gid: number }

/** A process, told apart from a later one with the same id by the moment it started. */
export type Identity = { pid: number; start: string }

const startInStat = (stat: string): string | undefined => {
  // The name in parentheses may itself hold spaces and parentheses, so count from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}

/** When a process started, in whatever form the system tells it; undefined when it is not running. */
export const startOf = (pid: number): string | undefined => {
  if (process.platform === 'linux') {
    try {
      return startInStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    } catch {
      return undefined
    }
  }
  const ps = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' })
  return ps.stdout.trim() || undefined
}

export const isAlive = (identity: Identity) => startOf(identity.pid) === identity.start

/** The process that a pid file names, if that very process still runs. */
export const runningProcess = (pidFile: string): Identity | undefined => {
  if (!existsSync(pidFile)) return undefined
  const [pid = '', ...rest] = readFileSync(pidFile, 'utf8').trim().split('\n')
  const line = rest.join('\n').trim()
  const start = process.platform === 'linux' ? startInStat(line) : line
  const identity = { pid: Number(pid), start: start ?? '' }
  return identity.pid > 0 && isAlive(identity) ? identity : undefined
}

// The process names itself in the pid file before it becomes the server, so there is no moment
// at which a server runs that no file knows of, not even when its starter dies on the way.
const nameThenBecome = `
read -r line 2>/dev/null </proc/$$/stat || line=$(ps -o lstart= -p $$)
printf '%s\\n%s\\n' "$$" "$line" >"$0" || exit 1
exec "$@"`

/** Starts a server that outlives this process and does not hear the terminal's Ctrl-C. Returns its id. */
export const spawnServer = (server: Server, pidFile: string, logFile: string): number => {
  rmSync(pidFile, { force: true })
  if (existsSync(logFile)) renameSync(logFile, `${logFile}.old`)
  const log = openSync(logFile, 'w', 0o600)
  // The account may be able to enter the folder itself and not the links that lead there.
  const ownPidFile = join(realpathSync(dirname(pidFile)), basename(pidFile))
  const child = spawn('sh', ['-c', nameThenBecome, ownPidFile, server.command, ...server.args], {
    cwd: server.cwd,
    detached: true,
    stdio: ['ignore', log, log],
    env: { PATH: process.env['PATH'], ...server.env },
    ...server.account,
  })
  closeSync(log)
  child.on('error', () => {})
  child.unref()
  if (child.pid === undefined) throw new Error(`sh could not be started for ${server.command}`)
  return child.pid
}

/** Asks a process to stop, waits, and kills it when it does not; never touches a successor of its id. */
export const stopProcess = async (identity: Identity, signal: NodeJS.Signals, patienceMs: number): Promise<void> => {
  const send = (name: NodeJS.Signals) => {
    try {
      if (isAlive(identity)) process.kill(identity.pid, name)
    } catch {
      // It ended in between, which is what was wanted.
    }
  }
  const gone = async (deadline: number) => {
    while (isAlive(identity)) {
      if (Date.now() > deadline) return false
      await Bun.sleep(10)
    }
    return true
  }
  send(signal)
  if (await gone(Date.now() + patienceMs)) return
  send('SIGKILL')
  await gone(Date.now() + 5000)
}
