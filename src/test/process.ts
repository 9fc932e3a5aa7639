import { join } from 'node:path'
import type { Environment } from '../config.ts'
import { eventually } from './eventually.ts'

/** Code that runs in the process before its own, and who is told what it says. */
export type Within = { preload: string; ipc: (message: unknown) => void }

/** Runs `bun src/main.ts` with exactly this environment; what it prints is kept by lines. */
export const runProcess = (environment: Environment, within?: Within) => {
  const preload = within ? ['--preload', within.preload] : []
  const child = Bun.spawn([process.execPath, ...preload, join(import.meta.dir, '../main.ts')], {
    ...(within ? { ipc: within.ipc } : {}),
    env: { PORT: '0', HOST: '127.0.0.1', ...environment },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const log = linesOf(child.stdout)
  const errors = linesOf(child.stderr)
  return {
    child,
    /** The lines of the log, parsed. */
    logged: () => log.lines.map((line): { msg?: string; url?: string } => JSON.parse(line)),
    /** The lines of what went wrong. */
    complained: () => errors.lines,
    /** The exit code, once everything that was printed is read. */
    ended: async () => {
      const code = await child.exited
      await Promise.all([log.whole, errors.whole])
      return { code, log: log.lines, errors: errors.lines }
    },
  }
}

/** Runs the process until it serves. */
export const startProcess = async (environment: Environment, within?: Within, logLevel: 'info' | 'trace' = 'info') => {
  const started = runProcess({ ...environment, LOG_LEVEL: logLevel }, within)
  const url = await eventually(() => {
    const serving = started.logged().find(({ msg }) => msg === 'serving')
    if (!serving?.url)
      throw new Error(`The process does not serve: ${JSON.stringify([...started.logged(), ...started.complained()])}`)
    return serving.url.replace(/\/$/, '')
  }, 30_000)
  return { ...started, url }
}

const linesOf = (stream: ReadableStream<Uint8Array>) => {
  const lines: string[] = []
  const read = async () => {
    let rest = ''
    const decoder = new TextDecoder()
    for await (const bytes of stream) {
      const parts = (rest + decoder.decode(bytes, { stream: true })).split('\n')
      rest = parts.pop() ?? ''
      lines.push(...parts)
    }
    if (rest) lines.push(rest)
  }
  return { lines, whole: read() }
}
