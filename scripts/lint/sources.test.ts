import { afterAll, beforeEach, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { readTree } from './sources.ts'

const root = mkdtempSync(join(tmpdir(), 'bulkhead-sources-'))
afterAll(() => rmSync(root, { recursive: true }))

const write = (path: string, text = '') => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

beforeEach(() => {
  for (const folder of ['src', 'modules', 'scripts', 'db']) rmSync(join(root, folder), { recursive: true, force: true })
  write(
    'package.json',
    JSON.stringify({ imports: { '#platform/*': './src/platform/*.ts' }, dependencies: { zod: '1' } }),
  )
  write('tsconfig.json', JSON.stringify({ compilerOptions: { jsxImportSource: 'hono/jsx' } }))
  write('src/app.ts')
  write('modules/users/index.ts')
  write('scripts/dev.ts')
  write('db/migrations/users/0001_users.sql')
  write('db/migrations/orders/.gitkeep')
})

test('every source is read, whatever its extension, and nothing else', () => {
  for (const name of ['a.tsx', 'b.mts', 'c.cjs', 'd.js', '.hidden.ts']) write(`modules/users/${name}`)
  write('modules/users/readme.md')
  write('db/roles.sql')
  const tree = readTree(root)
  expect(tree.sources.map(({ path }) => path)).toEqual([
    'src/app.ts',
    'modules/users/.hidden.ts',
    'modules/users/a.tsx',
    'modules/users/b.mts',
    'modules/users/c.cjs',
    'modules/users/d.js',
    'modules/users/index.ts',
    'scripts/dev.ts',
  ])
  expect(tree.migrations.map(({ path }) => path)).toEqual(['db/migrations/users/0001_users.sql'])
  expect(tree.schemas.toSorted()).toEqual(['orders', 'users'])
  expect(tree.project.jsxImportSource).toBe('hono/jsx')
})

test('a source folder that is empty or missing fails loudly, for then nothing would be checked', () => {
  rmSync(join(root, 'modules/users/index.ts'))
  expect(() => readTree(root)).toThrow('no source in modules')
  rmSync(join(root, 'modules'), { recursive: true })
  expect(() => readTree(root)).toThrow('cannot read modules')
})

test('a symbolic link is refused, file or folder', () => {
  mkdirSync(join(root, 'modules/orders'))
  symlinkSync(join(root, 'modules/users/index.ts'), join(root, 'modules/orders/users.ts'))
  symlinkSync(join(root, 'modules/users'), join(root, 'src/users'))
  const { links } = readTree(root)
  expect(links.map(({ file, rule }) => [file, rule])).toEqual([
    ['src/users', 'no-link'],
    ['modules/orders/users.ts', 'no-link'],
  ])
})
