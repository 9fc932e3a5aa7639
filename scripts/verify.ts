import { resolve } from 'node:path'
import { checkCompose } from './services/compose-check.ts'

type Outcome = { ok: boolean; output: string; note?: string }
type Step = { name: string; run: () => Outcome | Promise<Outcome> }

/** Runs a tool of node_modules/.bin or a script by bun, so that a machine without Node can verify. */
const run = async (cwd: string, args: string[]): Promise<Outcome> => {
  const child = Bun.spawn([process.execPath, ...args], { cwd, stdout: 'pipe', stderr: 'pipe', env: colourless() })
  const texts = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  return { ok: (await child.exited) === 0, output: texts.join('').trim() }
}

/** Colours would stand between the numbers that are read from an output. */
const colourless = () => {
  const { FORCE_COLOR: _, ...env } = process.env
  return { ...env, NO_COLOR: '1' }
}

/** The tests that need no service: the others carry their cost in their name. */
export const pureTestFiles = (root: string): string[] =>
  [...new Bun.Glob('{src,modules,scripts,db}/**/*.test.{ts,tsx}').scanSync({ cwd: root })]
    .filter((path) => !/\.(?:int|e2e)\.test\.tsx?$/.test(path))
    .toSorted()

/** Fails also when it ran nothing: no file, a file that was passed over, or not one test that passed. */
export const runPureTests = async (root: string): Promise<Outcome> => {
  const files = pureTestFiles(root)
  // Without a file, `bun test` would run every test there is.
  if (files.length === 0) return { ok: false, output: 'There is no pure test.' }
  // With `./` it is a path and not a part of one.
  const { ok, output } = await run(root, ['test', ...files.map((path) => `./${path}`)])
  const passed = Number(/^\s*(\d+) pass$/m.exec(output)?.[1] ?? 0)
  const ran = Number(/^Ran \d+ tests? across (\d+) files?\./m.exec(output)?.[1] ?? 0)
  const complaint = `${passed} tests passed, in ${ran} of ${files.length} files`
  if (!ok || passed === 0 || ran !== files.length) return { ok: false, output: `${output}\n${complaint}` }
  return { ok, output, note: `${passed} tests in ${ran} files` }
}

/** The last line that a tool prints is its own account of what it did. */
const noted = async (outcome: Promise<Outcome>): Promise<Outcome> => {
  const { ok, output } = await outcome
  return { ok, output, note: output.split('\n').at(-1) ?? '' }
}

const stepsOf = (root: string): Step[] => [
  { name: 'format', run: () => run(root, ['node_modules/.bin/oxfmt', '--check', '.']) },
  { name: 'types', run: () => run(root, ['node_modules/.bin/tsc', '--noEmit', '-p', '.']) },
  { name: 'lint', run: () => noted(run(root, ['scripts/lint.ts'])) },
  { name: 'messages', run: () => noted(run(root, ['scripts/publish-messages.ts', '--check'])) },
  { name: 'compose', run: checkServices },
  { name: 'tests', run: () => runPureTests(root) },
]

const checkServices = (): Outcome => {
  const findings = checkCompose()
  return { ok: findings.length === 0, output: findings.join('\n') }
}

const report = async ({ name, run }: Step): Promise<boolean> => {
  const startedAt = performance.now()
  const { ok, output, note } = await Promise.resolve()
    .then(run)
    .catch((error: unknown) => ({ ok: false, output: Bun.inspect(error), note: undefined }))
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  console.log(
    `${ok ? 'ok    ' : 'FAILED'} ${name.padEnd(8)} ${seconds.padStart(5)} s  ${ok ? (note ?? '') : ''}`.trimEnd(),
  )
  if (!ok) console.error(output)
  return ok
}

/** Begins the steps in their order, two at a time, and goes on after a failure, so that one run shows them all. */
const verify = async (steps: Step[]): Promise<boolean> => {
  const waiting = steps.values()
  const lane = async () => {
    const results: boolean[] = []
    for (const step of waiting) results.push(await report(step))
    return results
  }
  return (await Promise.all([lane(), lane()])).flat().every(Boolean)
}

if (import.meta.main) {
  const ok = await verify(stepsOf(resolve(import.meta.dir, '..')))
  process.exit(ok ? 0 : 1)
}
