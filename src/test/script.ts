import { join } from 'node:path'
import type { Environment } from '../config.ts'

/** Runs `bun scripts/<name>.ts` with this environment; `ended` has the exit code and what it said. */
export const runScript = (name: string, args: string[], environment: Environment) => {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, `../../scripts/${name}.ts`), ...args], {
    env: { ...process.env, ...environment },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const said = new Response(child.stdout).text()
  let errors = ''
  const reading = (async () => {
    const decoder = new TextDecoder()
    for await (const bytes of child.stderr) errors += decoder.decode(bytes, { stream: true })
  })()
  return {
    child,
    /** What it has said on stderr so far. */
    errors: () => errors,
    ended: async () => {
      const [code, text] = await Promise.all([child.exited, said, reading])
      return { code, said: text.trim(), errors }
    },
  }
}
