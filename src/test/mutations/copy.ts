import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ServiceEnvironment } from '../../../scripts/services/index.ts'
import { root } from '../../../scripts/services/paths.ts'
import type { Mutation } from './mutations.ts'

const copied = ['src', 'modules', 'db', 'scripts', 'package.json', 'tsconfig.json', 'bunfig.toml']

/** A copy of the tree in a folder of its own; of the packages it has links, and a whole copy of the one that is to be changed. */
const copyTree = (changed: string | undefined): string => {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-mutation-'))
  for (const name of copied) cpSync(join(root, name), join(folder, name), { recursive: true })
  mkdirSync(join(folder, 'node_modules'))
  for (const name of readdirSync(join(root, 'node_modules'))) {
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  }
  const [, packageName] = /^node_modules\/([^/]+)\//.exec(changed ?? '') ?? []
  if (packageName) {
    const own = join(folder, 'node_modules', packageName)
    unlinkSync(own)
    cpSync(join(root, 'node_modules', packageName), own, { recursive: true, dereference: true })
  }
  return folder
}

/** @throws Error when the code to take out is not there exactly once: the mutation has to follow the code */
const takeOut = (folder: string, { file, code, without, mechanism }: Mutation): void => {
  const path = join(folder, file)
  const parts = readFileSync(path, 'utf8').split(code)
  if (parts.length !== 2) throw new Error(`${file} has the code of "${mechanism}" ${parts.length - 1} times.`)
  // A copy may be a hard link of what it was copied from.
  unlinkSync(path)
  writeFileSync(path, parts.join(without))
}

export type Outcome = { test: string; outcome: 'pass' | 'fail' | 'not run' }

/** Runs these tests, by their whole names, in a copy of the tree; with a mutation, without its mechanism. */
export const runInCopy = async (
  wanted: Mutation['noticedBy'][],
  services: ServiceEnvironment,
  mutation?: Mutation,
): Promise<Outcome[]> => {
  const folder = copyTree(mutation?.file)
  try {
    if (mutation) takeOut(folder, mutation)
    const files = [...new Set(wanted.map(({ file }) => join(folder, file)))]
    const names = wanted.map(({ test }) => `^${RegExp.escape(test)}$`).join('|')
    const child = Bun.spawn([process.execPath, 'test', ...files, '--test-name-pattern', names], {
      cwd: folder,
      env: { ...process.env, ...services },
      stdout: 'ignore',
      stderr: 'pipe',
    })
    const said = await new Response(child.stderr).text()
    return wanted.map(({ test }) => {
      const [, outcome] = new RegExp(`^\\((pass|fail)\\) ${RegExp.escape(test)}`, 'm').exec(said) ?? []
      return { test, outcome: (outcome as 'pass' | 'fail' | undefined) ?? 'not run' }
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
