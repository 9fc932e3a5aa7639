import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Environment } from '../../src/config.ts'
import { root } from '../services/paths.ts'
import { isAlive, startOf } from '../services/process.ts'
import { sleep } from '#platform/retry'

export type AppProcessOptions = {
  name: string
  port: number
  environment: Environment
  folder: string
  /** Is told when a process that served ends although nobody killed it. */
  onCrash: (what: string) => void
}

/** How long a process that ended stays down before it is started again, as by any supervisor. */
const restartMs = 300

const lastWords = (log: string): string => {
  const lines = readFileSync(log, 'utf8').trim().split('\n').slice(-50)
  return (lines.findLast((line) => line.includes('nobody caught')) ?? lines.at(-1) ?? '').slice(0, 2_000)
}

/** Ends what a run that was killed itself has left running. */
export const endLeftover = (folder: string, name: string): void => {
  const file = join(folder, `${name}.pid`)
  if (!existsSync(file)) return
  const [pid = '', start = ''] = readFileSync(file, 'utf8').split('\n')
  const identity = { pid: Number(pid), start }
  if (identity.pid > 0 && isAlive(identity)) process.kill(identity.pid, 'SIGKILL')
  rmSync(file)
}

/** One `bun src/main.ts`, kept running: it is started again when it ends, unless it is held down. */
export const createAppProcess = ({ name, port, environment, folder, onCrash }: AppProcessOptions) => {
  const url = `http://127.0.0.1:${port}`
  const log = join(folder, `${name}.log`)
  let child: Bun.Subprocess | undefined
  let served = false
  let down = false
  let ended = false
  let starts = 0

  /** What the process says against being ready; undefined when it is. */
  const notReady = async (): Promise<string | undefined> => {
    try {
      const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(1_000) })
      return response.status === 200 ? undefined : `${name}: ${await response.text()}`
    } catch {
      return `${name} does not answer`
    }
  }

  const lives = (): Promise<boolean> =>
    fetch(`${url}/livez`, { signal: AbortSignal.timeout(1_000) }).then(
      ({ status }) => status === 200,
      () => false,
    )

  const watch = async (own: Bun.Subprocess) => {
    while (own.exitCode === null && own.signalCode === null && !served) {
      if (await lives()) served = true
      else await sleep(50)
    }
    await own.exited
    if (child !== own || ended || down) return
    if (served && own.signalCode !== 'SIGKILL')
      onCrash(`${name} ended by itself (${own.exitCode ?? own.signalCode}): ${lastWords(log)}`)
    await sleep(restartMs)
    if (child === own && !ended && !down) spawn()
  }

  const spawn = () => {
    const output = openSync(log, 'a')
    served = false
    starts += 1
    child = Bun.spawn([process.execPath, join(root, 'src/main.ts')], {
      cwd: root,
      env: { ...environment, PORT: String(port) },
      stdin: 'ignore',
      stdout: output,
      stderr: output,
    })
    closeSync(output)
    writeFileSync(join(folder, `${name}.pid`), `${child.pid}\n${startOf(child.pid) ?? ''}`)
    void watch(child)
  }

  const kill = async () => {
    const own = child
    own?.kill('SIGKILL')
    await own?.exited
  }

  return {
    name,
    url,
    start: () => {
      down = false
      spawn()
    },
    /** Kills it; it stays down until `start`. */
    killAndHold: async () => {
      down = true
      await kill()
    },
    signal: (signal: NodeJS.Signals) => child?.kill(signal),
    notReady,
    starts: () => starts,
    /** Kills it for good. */
    end: async () => {
      ended = true
      await kill()
      rmSync(join(folder, `${name}.pid`), { force: true })
    },
  }
}

export type AppProcess = ReturnType<typeof createAppProcess>
