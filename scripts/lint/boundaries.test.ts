import { describe, expect, test } from 'bun:test'
import { resolve } from 'node:path'
import { checkBoundaries } from './boundaries.ts'
import { breaches, legal } from './planted.ts'
import { homes, places, reserved } from './rules.ts'
import { readTree } from './sources.ts'

const { project } = readTree(resolve(import.meta.dir, '../..'))

const rulesOf = (path: string, text: string) =>
  checkBoundaries([{ path, text }], project).findings.map(({ rule }) => rule)

/** Every way in which TypeScript on Bun reaches another file. */
const forms: Record<string, (specifier: string) => string> = {
  import: (x) => `import { a } from '${x}'`,
  'import default': (x) => `import a from "${x}"`,
  'import namespace': (x) => `import * as a from '${x}'`,
  'side effect': (x) => `import '${x}'`,
  'import type': (x) => `import type { A } from '${x}'`,
  'inline type': (x) => `import { type A } from '${x}'`,
  're-export': (x) => `export { a } from '${x}'`,
  're-export of all': (x) => `export * from '${x}'`,
  're-export as namespace': (x) => `export * as a from '${x}'`,
  're-export of types': (x) => `export type { A } from '${x}'`,
  're-export of all types': (x) => `export type * from '${x}'`,
  'dynamic import': (x) => `const a = async () => await import('${x}')`,
  'dynamic import of a template': (x) => `const a = import(\`${x}\`)`,
  'dynamic import behind an assertion': (x) => `const a = import(('${x}' as string))`,
  require: (x) => `const a = require('${x}')`,
  'import.meta.require': (x) => `const a = import.meta.require('${x}')`,
  'import = require': (x) => `import a = require('${x}')`,
  'import type = require': (x) => `import type a = require('${x}')`,
  'type import': (x) => `let a: import('${x}').A<string>[]`,
  'typeof import': (x) => `type A = ReturnType<typeof import('${x}')['a']>`,
  'import.meta.resolve': (x) => `const a = import.meta.resolve('${x}')`,
  'require.resolve': (x) => `const a = require.resolve('${x}')`,
  'Bun.resolveSync': (x) => `const a = Bun.resolveSync('${x}', import.meta.dir)`,
  'process.getBuiltinModule': (x) => `const a = process.getBuiltinModule('${x}')`,
  'mock.module': (x) => `mock.module('${x}', () => ({}))`,
  'jest.mock': (x) => `jest.mock('${x}')`,
  'module augmentation': (x) => `declare module '${x}' { interface A { b: 1 } }`,
  'new Worker': (x) => `const a = new Worker('${x}')`,
  'reference types': (x) => `/// <reference types="${x}" />`,
}

/** Only for paths. */
const pathForms: Record<string, (specifier: string) => string> = {
  'new URL': (x) => `const a = new Worker(new URL('${x}', import.meta.url))`,
  'reference path': (x) => `/// <reference path="${x}" />`,
}

/** What each form of importing `specifier` is refused for. */
const verdicts = (file: string, specifier: string) => {
  const isPath = specifier.startsWith('.')
  const applicable = Object.entries(isPath ? { ...forms, ...pathForms } : forms)
    // Only a source is code; a reference names the file beside it without `./`.
    .filter(([form]) => form !== 'new URL' || /\.[jt]s$/.test(specifier))
    .map(
      ([form, write]) => [form, write(form === 'reference path' ? specifier.replace(/^\.\//, '') : specifier)] as const,
    )
  return applicable.map(([form, text]) => `${form}: ${rulesOf(file, text).join()}`)
}

describe('a planted breach is caught in every form of import', () => {
  for (const [file, specifier, rule] of breaches)
    test(`${rule}: ${file} -> ${specifier}`, () => {
      const caught = verdicts(file, specifier)
      expect(caught.length).toBeGreaterThanOrEqual(Object.keys(forms).length)
      expect(caught.filter((verdict) => !verdict.endsWith(`: ${rule}`))).toEqual([])
    })
})

describe('a legal import passes in every form', () => {
  for (const [file, specifier] of legal)
    test(`${file} -> ${specifier}`, () => {
      expect(verdicts(file, specifier).filter((verdict) => !verdict.endsWith(': '))).toEqual([])
    })
})

const resolving = (name: string) => 'const a = import.meta.resolve(`' + name + '/${file}`)'

describe('what the table cannot judge is refused', () => {
  for (const text of [
    'const a = import(name)',
    "const a = import('#modules/' + name)",
    'const a = import(`#modules/${name}`)',
    'const a = require(name)',
    'const a = import.meta.resolve(name)',
    'mock.module(name, () => ({}))',
    'const a = new Worker(name)',
    'const load = require',
    'const load = import.meta.require',
    'use(require)',
  ])
    test(`a computed import outside scripts: ${text}`, () => {
      expect(rulesOf('src/app.ts', text)).toEqual(['literal-import'])
      expect(rulesOf('modules/users/user.test.ts', text)).toEqual(['literal-import'])
      expect(rulesOf('scripts/dev.ts', text)).toEqual([])
    })

  test('a path that is computed below a package it names', () => {
    expect(rulesOf('src/bff/docs.ts', resolving('swagger-ui-dist'))).toEqual([])
    expect(rulesOf('src/app.ts', resolving('swagger-ui-dist'))).toEqual(['bff-is-the-only-http'])
    for (const name of ['@hono', '..', '.', '#modules', '/work', 'file:///work'])
      expect(rulesOf('src/bff/docs.ts', resolving(name))).toEqual(['literal-import'])
    expect(rulesOf('src/bff/docs.ts', 'const a = import(`swagger-ui-dist/${file}`)')).toEqual(['literal-import'])
  })

  test('a file outside the layout', () => {
    for (const path of ['src/other/file.ts', 'modules/shared.ts', 'elsewhere/file.ts'])
      expect(rulesOf(path, '')).toEqual(['no-place'])
  })

  test('JSX outside the BFF, which imports hono without naming it', () => {
    expect(rulesOf('modules/users/page.tsx', 'export const a = <p />')).toEqual(['bff-is-the-only-http'])
    expect(rulesOf('modules/users/page.tsx', 'export const a = <></>')).toEqual(['bff-is-the-only-http'])
    expect(rulesOf('src/bff/page.tsx', 'export const a = <p />')).toEqual([])
    expect(rulesOf('src/bff/page.tsx', '/** @jsxImportSource react */ const a = <p />')).toEqual(['unlisted-package'])
  })

  test('an empty list of files and a file that does not parse fail loudly', () => {
    expect(() => checkBoundaries([], project)).toThrow('no file')
    expect(() => rulesOf('src/app.ts', 'import {')).toThrow('src/app.ts')
  })
})

test('a finding says where, which rule, what, and the way that is allowed', () => {
  const text = "\nimport type { User } from '../users/user.ts'\n"
  expect(checkBoundaries([{ path: 'modules/orders/order.ts', text }], project).findings).toEqual([
    {
      file: 'modules/orders/order.ts',
      line: 2,
      rule: 'relative-climb',
      what: "import type '../users/user.ts'",
      way: expect.stringContaining('import `#events/users` instead'),
    },
  ])
})

test('every rule of the table has a planted breach', () => {
  const planted = new Set(breaches.map(([, , rule]) => rule))
  const rules = [...places, ...homes, ...Object.values(reserved)].map(({ rule }) => rule)
  expect(rules.filter((rule) => !planted.has(rule))).toEqual([])
})
