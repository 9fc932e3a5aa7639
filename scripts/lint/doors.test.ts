import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { checkBoundaries } from './boundaries.ts'
import { readTree } from './sources.ts'

const project = resolve(import.meta.dir, '../..')
const root = mkdtempSync(join(tmpdir(), 'bulkhead-doors-'))
afterAll(() => rmSync(root, { recursive: true }))

const write = (path: string, text: string) => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

write('package.json', await Bun.file(join(project, 'package.json')).text())
for (const file of ['index', 'events', 'user', 'commands/register-user', 'commands/index'])
  write(`modules/users/${file}.ts`, 'export const here = true')
for (const file of ['log', 'messaging/kafka']) write(`src/platform/${file}.ts`, 'export const here = true')

const open = ['#modules/users', '#events/users', '#platform/log', '#platform/messaging/kafka']
const closed = [
  '#modules/users/user',
  '#modules/users/user.ts',
  '#modules/users/events',
  '#modules/users/commands/register-user',
  '#modules/../modules/users',
  '#events/users/user',
  '#events/users/commands',
  '#events/orders',
  '#platform/../../modules/users/user',
  '#platform/log.ts',
  '#users',
  'bulkhead/modules/users/user.ts',
  'modules/users/user.ts',
]

const resolves = (specifier: string) => {
  try {
    return Bun.resolveSync(specifier, join(root, 'src')).startsWith(root)
  } catch {
    return false
  }
}

test('the doors of package.json#imports are the only names that Bun resolves', () => {
  expect(open.filter(resolves)).toEqual(open)
  expect(closed.filter(resolves)).toEqual([])
})

test('the doors are the only names that tsc resolves', async () => {
  const tsconfig: unknown = JSON.parse(await Bun.file(join(project, 'tsconfig.json')).text())
  const { compilerOptions } = tsconfig as { compilerOptions: object }
  write(
    'tsconfig.json',
    JSON.stringify({ compilerOptions: { ...compilerOptions, types: [] }, files: ['src/names.ts'] }),
  )
  write('src/names.ts', [...open, ...closed].map((name) => `import '${name}'`).join('\n'))
  const tsc = Bun.spawn([process.execPath, join(project, 'node_modules/.bin/tsc'), '-p', root, '--pretty', 'false'])
  const output = await new Response(tsc.stdout).text()
  const refused = [...output.matchAll(/error TS\d+: .*?'([^']+)'/g)].map(([, name]) => name)
  expect(refused).toEqual(closed)
})

test('a folder with an index.ts, which Bun resolves like a module, is no door', () => {
  expect(resolves('#modules/users/commands')).toBe(true)
  const text = "import '#modules/users/commands'"
  const { findings } = checkBoundaries([{ path: 'src/bff/users.ts', text }], readTree(project).project)
  expect(findings.map(({ rule }) => rule)).toEqual(['door-name'])
})
